"""Whether a pair is there already, under the same or under another name.

Compared are the UIDs and the pixel values of every object, and a keyed hash of name and birth date; so a patient whose
ID was mistyped once, or a CT that was exported again with new UIDs, does not end up on both sides of a split.
"""

from collections.abc import Iterable

from training.errors import PairRefused
from training.store.stored_pair import PairManifest, Role, StoredPair


class AlreadyStored(Exception):
    """The very same pair is there; nothing is wrong."""

    def __init__(self, pair: StoredPair) -> None:
        self.pair = pair
        super().__init__(pair.name)


def require_new(manifest: PairManifest, pairs: Iterable[StoredPair]) -> None:
    """Compare a pair with all that are there.

    Args:
        manifest: of the pair that comes.
        pairs: that are there.

    Raises:
        AlreadyStored: it is there, with the same pixels and the same kind of link.
        PairRefused: with the reason code DUPLICATE (the same images are there under other UIDs, or with another link),
            CHANGED_OBJECT (the same UID with other pixels), TWO_PATIENTS (the Patient ID is there with another birth
            date) or SAME_PATIENT_OTHER_ID (another patient has a UID, an
            image or name and birth date of this one: a person has to find out who is who).
    """
    for pair in pairs:
        if pair.patient == manifest.patient:
            _compare_own(manifest, pair)
        elif common := _in_common(manifest, pair.manifest):
            raise PairRefused("SAME_PATIENT_OTHER_ID", f"{manifest.patient} and {pair.patient} share {common}")


def _compare_own(manifest: PairManifest, pair: StoredPair) -> None:
    births = {manifest.birth, pair.manifest.birth} - {""}
    if len(births) > 1:  # names change, as by marriage; birth dates do not
        raise PairRefused("TWO_PATIENTS", f"{pair.name} has the same Patient ID and another birth date")
    own, there = _pixels_by_uid(manifest), _pixels_by_uid(pair.manifest)
    changed = [uid for uid in own.keys() & there.keys() if own[uid] != there[uid]]
    if changed:
        raise PairRefused("CHANGED_OBJECT", f"{len(changed)} object(s) of {pair.name} came with other pixels")
    if manifest.name == pair.name:
        if own == there and manifest.link.kind == pair.link.kind:
            raise AlreadyStored(pair)
        raise PairRefused("DUPLICATE", f"{pair.name} is there with another link or other files: remove it first")
    if all(_images(manifest, role) & _images(pair.manifest, role) for role in _IMAGES):
        raise PairRefused("DUPLICATE", f"its images are those of {pair.name}")


_IMAGES: tuple[Role, Role] = ("ct", "nuclear")


def _in_common(one: PairManifest, other: PairManifest) -> str:
    """What two patients have in common, in words; empty for nothing."""
    if _pixels_by_uid(one).keys() & _pixels_by_uid(other).keys():
        return "an object"
    if any(_images(one, role) & _images(other, role) for role in _IMAGES):
        return "an image"
    return "name and birth date" if one.person and one.person == other.person else ""


def _pixels_by_uid(manifest: PairManifest) -> dict[str, str]:
    return {file.sop_instance_uid: file.pixels_sha256 for file in manifest.files}


def _images(manifest: PairManifest, role: Role) -> set[str]:
    return {file.pixels_sha256 for file in manifest.of(role)} - {""}
