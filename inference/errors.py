"""Everything that can be wrong with a series, a model or a result, as one tree.

    InferenceError                         code, permanent
    ├─ UnusableSeries                      the series cannot become a volume; sending it again will not help
    │  ├─ EmptySeries                      no instance at all
    │  ├─ UnreadableInstance               an instance that cannot be parsed or decoded
    │  ├─ LossyCompressed                  pixels were compressed with loss, HU are not what was measured
    │  ├─ NotCt                            another modality or SOP class
    │  ├─ Localizer                        a scout image, not a volume
    │  ├─ MixedSeries                      two patients, studies, series, frames of reference or matrices
    │  ├─ NoFrameOfReference               nothing to tie the result to
    │  ├─ MissingGeometry                  position, orientation or pixel spacing absent
    │  ├─ InvalidRescale                   HU cannot be computed
    │  ├─ DerivedFrames                    frames of a projection or a calculation, not of a CT
    │  ├─ IncompleteConcatenation          an object that was cut into several lacks some of them
    │  ├─ TooFewSlices                     not enough slices for a lung
    │  ├─ DuplicateSlices                  two different slices at one position
    │  ├─ MissingSlices                    a gap inside the series
    │  ├─ UnevenSpacing                    slices at irregular distances
    │  ├─ GantryTilt                       slices sheared against their stacking direction
    │  ├─ UnsupportedOrientation           not an axial series
    │  └─ SeriesTooLarge                   more memory than a series may take
    ├─ ImplausibleAnatomy                  the volume does not show what it should
    │  ├─ LungsNotFound                    no lung, or far too little
    │  └─ ImplausibleResult                checks say that the result must not be sent
    ├─ ModelError                          a model that must not be used; stops the start
    │  ├─ ModelNotFound                    files absent, and what to do about it
    │  ├─ CheckpointMismatch               weights are not the ones the model card names
    │  ├─ UnknownModel                     no weights are known by that name
    │  ├─ WeightsDigestMismatch            a file is not the one that was published under its name
    │  ├─ UnusableWeights                  a file is not the network that it should be
    │  ├─ StoredModelDamaged               what lies in the model store is not what was put there
    │  ├─ ModelStoreUnwritable             the model store cannot be changed
    │  ├─ InvalidModelCard                 the card itself is unusable
    │  ├─ InvalidModelBundle               a folder is no model bundle that can be read
    │  ├─ ModelAltered                     a file of a bundle is not the one that its manifest names
    │  ├─ ModelSignatureInvalid            the signature of a bundle does not belong to its manifest
    │  ├─ ModelSignerUnknown               a bundle is signed with a key that is not trusted here
    │  ├─ ModelKeyUnusable                 a file with a key cannot be used as one
    │  ├─ ModelNotRegistered               no imported model is called so, or several are
    │  ├─ ModelVersionTaken                another model has this name and version
    │  ├─ ModelChoiceDamaged               what says which model is in force cannot be relied on
    │  ├─ EvaluationUnusable               a document is no evaluation, or contradicts itself
    │  ├─ EvaluationOfAnotherModel         an evaluation is of another model, or compares with another one
    │  ├─ EvaluationNotPassed              a model was not good enough
    │  ├─ PromotionRefused                 one person alone, or nothing to change
    │  ├─ ShadowRefused                    a model must not run in shadow as it was asked
    │  └─ ShadowUnreadable                 what says which model runs in shadow cannot be read
    ├─ OutOfMemory                         a network needs more memory than there is, in every way it can run
    └─ GridMismatch                        two volumes that must share a grid do not: a bug, never hidden

Each leaf carries its facts as fields, a stable `code` for logs and journals, and `permanent`: whether trying the same
input again can only fail again. The message is one sentence that a physicist understands. It holds no patient data:
UIDs stay in fields, which logs do not print.
"""

from collections.abc import Mapping
from typing import ClassVar


class InferenceError(Exception):
    """Root of all errors of this package."""

    code: ClassVar[str] = "INFERENCE_ERROR"
    permanent: ClassVar[bool] = True


class UnusableSeries(InferenceError):
    """The received series cannot be turned into a CT volume."""

    code = "UNUSABLE_SERIES"


class EmptySeries(UnusableSeries):
    """There is no instance in the series."""

    code = "EMPTY_SERIES"

    def __init__(self) -> None:
        super().__init__("The series holds no image.")


class UnreadableInstance(UnusableSeries):
    """An instance cannot be parsed, or its pixels cannot be decoded."""

    code = "UNREADABLE_INSTANCE"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"An image of the series cannot be read: {reason}.")


class LossyCompressed(UnusableSeries):
    """Pixels were compressed with loss somewhere on their way."""

    code = "LOSSY_COMPRESSED"

    def __init__(self, syntax: str) -> None:
        self.syntax = syntax
        super().__init__(f"The images were compressed with loss ({syntax}): HU are not what was measured.")


class NotCt(UnusableSeries):
    """The series is not a CT."""

    code = "NOT_CT"

    def __init__(self, modality: str, sop_class: str) -> None:
        self.modality = modality
        self.sop_class = sop_class
        super().__init__(f"The series is not a CT: modality {modality or 'absent'}, {sop_class or 'no SOP class'}.")


class Localizer(UnusableSeries):
    """The series is a scout (ImageType LOCALIZER)."""

    code = "LOCALIZER"

    def __init__(self, images: int) -> None:
        self.images = images
        super().__init__(f"The series is a scout (localizer) of {images} image(s), not a planning CT.")


class MixedSeries(UnusableSeries):
    """Instances disagree in something that a series has once."""

    code = "MIXED_SERIES"

    def __init__(self, attribute: str, distinct: int) -> None:
        self.attribute = attribute
        self.distinct = distinct
        super().__init__(f"The images disagree in {attribute}: {distinct} different values in one series.")


class NoFrameOfReference(UnusableSeries):
    """Frame of Reference UID is absent or empty."""

    code = "NO_FRAME_OF_REFERENCE"

    def __init__(self) -> None:
        super().__init__("The images have no Frame of Reference UID, so a result could not be tied to the plan.")


class MissingGeometry(UnusableSeries):
    """An attribute that places the image in the patient is absent or unusable."""

    code = "MISSING_GEOMETRY"

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute
        super().__init__(f"An image has no usable {attribute}.")


class InvalidRescale(UnusableSeries):
    """Rescale slope or intercept is absent, not finite, or not an HU rescale."""

    code = "INVALID_RESCALE"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"HU cannot be computed: {reason}.")


class DerivedFrames(UnusableSeries):
    """Frames of a multi-frame image are projections or results of a calculation (PS3.3 C.8.16.1)."""

    code = "DERIVED_FRAMES"

    def __init__(self, attribute: str, value: str, frames: int) -> None:
        self.attribute = attribute
        self.value = value
        self.frames = frames
        super().__init__(f"{frames} frame(s) are no slices of a CT: {attribute} is {value}.")


class IncompleteConcatenation(UnusableSeries):
    """A multi-frame image was sent in several instances (PS3.3 C.7.6.16.2.2.4), and some are absent."""

    code = "INCOMPLETE_CONCATENATION"

    def __init__(self, received: int, total: int) -> None:
        self.received = received
        self.total = total
        super().__init__(f"The image was cut into {total} instance(s), and {received} of them are here.")


class TooFewSlices(UnusableSeries):
    """Fewer slices than a thorax needs."""

    code = "TOO_FEW_SLICES"

    def __init__(self, slices: int, needed: int) -> None:
        self.slices = slices
        self.needed = needed
        super().__init__(f"The series has {slices} slice(s); at least {needed} are needed.")


class DuplicateSlices(UnusableSeries):
    """Two slices lie at the same position but differ."""

    code = "DUPLICATE_SLICES"

    def __init__(self, positions_mm: tuple[float, ...]) -> None:
        self.positions_mm = positions_mm
        super().__init__(
            f"{len(positions_mm)} slice position(s) occur twice, the first at {positions_mm[0]:.2f} mm: "
            "the series holds two reconstructions or phases."
        )


class MissingSlices(UnusableSeries):
    """A gap inside the series; slices missing at its ends cannot be seen here."""

    code = "MISSING_SLICES"

    def __init__(self, gaps_mm: tuple[float, ...], spacing_mm: float) -> None:
        self.gaps_mm = gaps_mm
        self.spacing_mm = spacing_mm
        super().__init__(
            f"Slices are missing: {len(gaps_mm)} gap(s), the widest {max(gaps_mm):.2f} mm "
            f"where slices are {spacing_mm:.2f} mm apart."
        )


class UnevenSpacing(UnusableSeries):
    """Slice distances vary more than rounding explains."""

    code = "UNEVEN_SPACING"

    def __init__(self, smallest_mm: float, largest_mm: float) -> None:
        self.smallest_mm = smallest_mm
        self.largest_mm = largest_mm
        super().__init__(f"Slice distances vary from {smallest_mm:.3f} to {largest_mm:.3f} mm.")


class GantryTilt(UnusableSeries):
    """Slice positions do not follow the slice normal."""

    code = "GANTRY_TILT"

    def __init__(self, angle_deg: float) -> None:
        self.angle_deg = angle_deg
        super().__init__(f"The gantry was tilted: slices are sheared by {angle_deg:.2f} degrees.")


class UnsupportedOrientation(UnusableSeries):
    """The image planes are not axial."""

    code = "UNSUPPORTED_ORIENTATION"

    def __init__(self, angle_deg: float) -> None:
        self.angle_deg = angle_deg
        super().__init__(f"The images are not axial: {angle_deg:.1f} degrees off the patient axes.")


class SeriesTooLarge(UnusableSeries):
    """The series would take more memory than the site gives to reading."""

    code = "TOO_LARGE"

    def __init__(self, needed_mb: int | None, allowed_mb: int | None) -> None:
        self.needed_mb = needed_mb
        """None when memory ran out without an estimate."""
        self.allowed_mb = allowed_mb
        needed = "more memory than there is" if needed_mb is None else f"{needed_mb} MB of memory"
        allowed = "" if allowed_mb is None else f"; {allowed_mb} MB are allowed"
        super().__init__(f"Reading the series needs {needed}{allowed}.")


class ImplausibleAnatomy(InferenceError):
    """The CT is readable but does not show what the models need."""

    code = "IMPLAUSIBLE_ANATOMY"


class LungsNotFound(ImplausibleAnatomy):
    """No lungs, or far less than a lung."""

    code = "LUNGS_NOT_FOUND"

    def __init__(self, volume_ml: float, needed_ml: float) -> None:
        self.volume_ml = volume_ml
        self.needed_ml = needed_ml
        super().__init__(
            f"No lungs were found: {volume_ml:.0f} ml of lung where at least {needed_ml:.0f} ml are expected."
        )


class ImplausibleResult(ImplausibleAnatomy):
    """Lungs, lobes or map fail a check that forbids sending them."""

    code = "IMPLAUSIBLE_RESULT"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        """Code of each failed check to its sentence."""
        super().__init__(" ".join(self.reasons.values()))


class ModelError(InferenceError):
    """A model cannot be used; the node refuses to start with it."""

    code = "MODEL_ERROR"


class ModelNotFound(ModelError):
    """Model files are not where the configuration says."""

    code = "MODEL_NOT_FOUND"

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} was not found. {remedy}")


class CheckpointMismatch(ModelError):
    """The weights on disk are not those the model card names."""

    code = "CHECKPOINT_MISMATCH"

    def __init__(self, expected_sha256: str, got_sha256: str) -> None:
        self.expected_sha256 = expected_sha256
        self.got_sha256 = got_sha256
        super().__init__(f"Weights have SHA-256 {got_sha256[:12]}…, the model card names {expected_sha256[:12]}….")


class UnknownModel(ModelError):
    """No weights are known by a name."""

    code = "UNKNOWN_MODEL"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        super().__init__(f"No weights are known as {name!r}; known are {', '.join(known)}.")


class WeightsDigestMismatch(ModelError):
    """A file is not the one that was published: its SHA-256 begins with other digits."""

    code = "WEIGHTS_DIGEST_MISMATCH"

    def __init__(self, name: str, published_start: str, got_sha256: str) -> None:
        self.name = name
        self.published_start = published_start
        self.got_sha256 = got_sha256
        super().__init__(
            f"This is not the published file of {name}: its SHA-256 begins with "
            f"{got_sha256[: len(published_start)]}, not with {published_start}. It was cut, changed or is another one."
        )


class UnusableWeights(ModelError):
    """The bytes of a file are not the network that they should be."""

    code = "UNUSABLE_WEIGHTS"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"The file cannot be used as {name}: {reason}.")


class StoredModelDamaged(ModelError):
    """Weights in the model store are gone or are not the bytes that were put there."""

    code = "STORED_MODEL_DAMAGED"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"The stored weights {name} are damaged: {reason}. Import them again.")


class ModelStoreUnwritable(ModelError):
    """The folder of the model store cannot be written."""

    code = "MODEL_STORE_UNWRITABLE"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"The model store {folder} cannot be written: {reason}.")


class InvalidModelCard(ModelError):
    """The model card is unreadable or says something impossible."""

    code = "INVALID_MODEL_CARD"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The model card cannot be used: {reason}.")


class InvalidModelBundle(ModelError):
    """A folder is no model bundle: its manifest is unreadable, or it holds or names what a bundle must not."""

    code = "INVALID_MODEL_BUNDLE"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"{folder} is no model bundle that can be used: {reason}.")


class ModelAltered(ModelError):
    """Files of a bundle were changed, cut, removed or added after it was signed."""

    code = "MODEL_ALTERED"

    def __init__(self, folder: str, problems: Mapping[str, str]) -> None:
        self.folder = folder
        self.problems = dict(problems)
        """Path inside the bundle to what is wrong with it."""
        told = "; ".join(f"{path} {problem}" for path, problem in self.problems.items())
        super().__init__(f"The model in {folder} is not the one that was signed: {told}. Get it again from its source.")


class ModelSignatureInvalid(ModelError):
    """The signature is not that of the manifest."""

    code = "MODEL_SIGNATURE_INVALID"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"The signature of the model in {folder} is not valid: {reason}.")


class ModelSignerUnknown(ModelError):
    """A bundle is signed, but with a key that this site does not trust."""

    code = "MODEL_SIGNER_UNKNOWN"

    def __init__(self, folder: str, signer: str, key_id: str) -> None:
        self.folder = folder
        self.signer = signer
        """Who signed, as the manifest says."""
        self.key_id = key_id
        super().__init__(
            f"The model in {folder} is signed with key {key_id} ({signer}), which is not trusted here. "
            "Name the file of the public key in trusted_keys, once its owner has told you this number himself."
        )


class ModelKeyUnusable(ModelError):
    """A file that should hold an Ed25519 key does not, or cannot be read or written."""

    code = "MODEL_KEY_UNUSABLE"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"The key {path} cannot be used: {reason}.")


class ModelNotRegistered(ModelError):
    """No imported model has that name, or several have."""

    code = "MODEL_NOT_REGISTERED"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        here = f"Choose one of {', '.join(known)}." if known else "There is none: import one first."
        super().__init__(f"{name!r} does not name one model of this site. {here}")


class ModelVersionTaken(ModelError):
    """A name and version stand for one model for ever, and this is another one."""

    code = "MODEL_VERSION_TAKEN"

    def __init__(self, reference: str, manifest_sha256: str) -> None:
        self.reference = reference
        self.manifest_sha256 = manifest_sha256
        super().__init__(
            f"Another bundle has the name {reference} at this site. Models never change: give a new one a new version."
        )


class ModelChoiceDamaged(ModelError):
    """The file or the history that says which model is in force was changed, or is gone."""

    code = "MODEL_CHOICE_DAMAGED"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"Which model is in force cannot be read in {folder}: {reason}. Restore it from a backup.")


class EvaluationUnusable(ModelError):
    """A file is no evaluation of a model, or says what its own figures deny."""

    code = "EVALUATION_UNUSABLE"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The evaluation cannot be used: {reason}.")


class EvaluationOfAnotherModel(ModelError):
    """An evaluation is not of the model that is to be promoted, or compares with one that is not in use."""

    code = "EVALUATION_OF_ANOTHER_MODEL"

    def __init__(self, what: str, expected: str, got: str) -> None:
        self.what = what
        self.expected = expected
        self.got = got
        super().__init__(f"The evaluation {what} {got}, not {expected}. Evaluate anew.")


class EvaluationNotPassed(ModelError):
    """The figures of an evaluation do not allow the model into use."""

    code = "EVALUATION_NOT_PASSED"

    def __init__(self, failed: tuple[str, ...]) -> None:
        self.failed = failed
        super().__init__(f"The model did not pass its evaluation: {', '.join(failed)}.")


class PromotionRefused(ModelError):
    """The rules for putting a model into force are not kept."""

    code = "PROMOTION_REFUSED"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Nothing was changed: {reason}.")


class ShadowRefused(ModelError):
    """A model must not run in shadow as it was asked."""

    code = "SHADOW_REFUSED"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Nothing was changed: {reason}.")


class ShadowUnreadable(ModelError):
    """The file that says which model runs in shadow cannot be read; none runs, and the maps are made as before."""

    code = "SHADOW_UNREADABLE"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be read ({reason}), so no model runs in shadow. Switch it off and on again.")


class OutOfMemory(InferenceError):
    """Memory of the GPU or of the machine ran out. Not permanent: next time there may be more."""

    code = "OUT_OF_MEMORY"
    permanent = False

    def __init__(self) -> None:
        super().__init__("There is not enough memory for the network.")


class GridMismatch(InferenceError):
    """Two volumes that must lie on one grid do not. Always a bug in the caller."""

    code = "GRID_MISMATCH"

    def __init__(self, expected: str, got: str) -> None:
        self.expected = expected
        self.got = got
        super().__init__(f"Volumes lie on different grids: expected {expected}, got {got}.")
