"""Enhanced CT → a header for each frame, as if a scanner had written it as an image of its own.

So every rule for a series of single images holds for frames as well, and the objects made from them take positions
and identity from the same place. A frame's header has the top-level attributes of its image and, in the words of a
single image, what its functional groups say; Referenced Frame Number (0008,1160) tells which frame it is.

Read are Enhanced CT (PS3.3 A.38.1) and Legacy Converted Enhanced CT (A.70). Their dimensions are not interpreted:
frames lie where Image Position (Patient) says, whatever their stack and order. Several images of one series are joined,
parts of a concatenation too, which must all be there.
"""

from collections.abc import Iterable, Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from inference.errors import DerivedFrames, IncompleteConcatenation, Localizer, MixedSeries, UnreadableInstance

MULTI_FRAME_CLASSES = (str(EnhancedCTImageStorage), str(LegacyConvertedEnhancedCTImageStorage))
CT_CLASSES = (str(CTImageStorage), *MULTI_FRAME_CLASSES)
"""SOP classes that are read."""
MOST_FRAMES = 10_000
"""Of one image. The longest scans have some 3,000."""

GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
    "FrameContentSequence": ("TemporalPositionIndex",),
    "CTImageFrameTypeSequence": ("FrameType", "VolumetricProperties", "VolumeBasedCalculationTechnique"),
}
"""Functional group macro to the attributes that a frame's header takes from it (PS3.3 C.7.6.16.2, C.8.15.3)."""
_SHARED, _PER_FRAME = Tag("SharedFunctionalGroupsSequence"), Tag("PerFrameFunctionalGroupsSequence")
_LEFT_OUT = {
    Tag(keyword)
    for keyword in ("NumberOfFrames", "PixelData", "DimensionIndexSequence", *(k for g in GROUPS.values() for k in g))
} | {_SHARED, _PER_FRAME}
"""Of the top level: what is a frame's own, or too large to be of use in each header."""

CALCULATIONS = ("", "NONE", "MPR")
"""Volume Based Calculation Techniques (C.8.16.2.1.3) whose pixels are still HU of one place."""
CONTRASTS = ("", "NONE", "MEAN", "MEDIAN", "FILTERED", "RESAMPLED")
"""Derived Pixel Contrasts, value 4 of Frame Type (C.8.16.2.1.4), that leave HU: an average over a breath is a usual
planning CT, a maximum or a difference is none."""


def is_multi_frame(dataset: Dataset) -> bool:
    """Whether this is an Enhanced or Legacy Converted Enhanced CT."""
    return str(dataset.get("SOPClassUID") or "") in MULTI_FRAME_CLASSES


def slice_headers(datasets: Iterable[Dataset]) -> Iterator[Dataset]:
    """One header per slice: an image of one frame is its own, a multi-frame image gives one for each frame.

    Raises:
        UnreadableInstance: functional groups and number of frames of a multi-frame image do not agree.
    """
    for dataset in datasets:
        if is_multi_frame(dataset):
            yield from frame_headers(dataset)
        else:
            yield dataset


def frame_headers(dataset: Dataset) -> list[Dataset]:
    """The headers of all frames of a multi-frame image, in the order of the file; no pixels, no copies of values.

    Raises:
        UnreadableInstance: functional groups and number of frames do not agree, or there are more than `MOST_FRAMES`.
    """
    try:
        return _frame_headers(dataset)
    except (UnreadableInstance, MemoryError):
        raise
    except Exception as fault:  # a value that pydicom cannot parse fails in any way
        raise UnreadableInstance("its functional groups cannot be parsed") from fault


def _frame_headers(dataset: Dataset) -> list[Dataset]:
    own = _items(dataset, _PER_FRAME)
    if not own or len(own) != frame_count(dataset):
        raise UnreadableInstance(f"it has {frame_count(dataset)} frames and functional groups for {len(own)}")
    if len(own) > MOST_FRAMES:
        raise UnreadableInstance(f"it has {len(own)} frames")
    shared = (_items(dataset, _SHARED) or [Dataset()])[0]
    tags = [tag for tag in list(dataset.keys()) if tag not in _LEFT_OUT]
    return [_header(dataset, tags, shared, item, number) for number, item in enumerate(own, start=1)]


def frame_header(dataset: Dataset, number: int) -> Dataset:
    """The header of frame `number`, from 1; 0 stands for a single-frame image, which is its own header.

    Raises:
        UnreadableInstance: as `frame_headers`, or there is no such frame.
    """
    if number == 0:
        return dataset
    headers = frame_headers(dataset)
    if number > len(headers):
        raise UnreadableInstance(f"it has no frame {number}")
    return headers[number - 1]


def frame_number(header: Dataset) -> int:
    """Which frame a header is of; 0 for a single-frame image."""
    return int(header.ReferencedFrameNumber) if is_multi_frame(header) else 0


def frame_count(dataset: Dataset) -> int:
    """Number of Frames (0028,0008); 1 where it is absent or no number."""
    try:
        return max(int(dataset.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError):
        return 1


def require_whole_concatenations(datasets: Sequence[Dataset]) -> None:
    """Refuse an image that was cut into several instances of which some are absent (PS3.3 C.7.6.16.2.2.4).

    Raises:
        IncompleteConcatenation: parts are absent; a part that does not say how many there are counts by its number.
    """
    parts: dict[str, dict[int, int]] = {}
    for dataset in datasets:
        concatenation = str(dataset.get("ConcatenationUID") or "")
        if concatenation and is_multi_frame(dataset):
            number = _whole(dataset, "InConcatenationNumber")
            total = _whole(dataset, "InConcatenationTotalNumber")
            parts.setdefault(concatenation, {})[number] = max(number, total)
    for numbers in parts.values():
        total = max(numbers.values())
        if set(numbers) != set(range(1, total + 1)):
            raise IncompleteConcatenation(len(numbers), total)


def require_measured_frames(headers: Sequence[Dataset]) -> None:
    """Refuse frames that their Frame Type calls a scout, a projection or a calculation, and frames of several phases.

    Args:
        headers: of frames; others are not looked at.

    Raises:
        Localizer: every frame is a scout.
        MixedSeries: some are, or there is more than one Temporal Position Index.
        DerivedFrames: a frame is a projection, distorted, or not in HU of one place.
    """
    headers = [header for header in headers if is_multi_frame(header)]
    types = [[part.strip().upper() for part in _values(header, "FrameType")] for header in headers]
    scouts = sum("LOCALIZER" in kind for kind in types)
    if scouts and scouts == len(headers):
        raise Localizer(scouts)
    if scouts:
        raise MixedSeries("Frame Type (scout frames among slices)", 2)
    found = {
        "Volume Based Calculation Technique": [_first(h, "VolumeBasedCalculationTechnique") for h in headers],
        "Derived Pixel Contrast": [(kind + [""] * 4)[3] for kind in types],
        "Volumetric Properties": [_first(h, "VolumetricProperties") for h in headers],
    }
    usable = {"Volume Based Calculation Technique": CALCULATIONS, "Derived Pixel Contrast": CONTRASTS}
    for attribute, values in found.items():
        wrong = [v for v in values if (v not in usable[attribute] if attribute in usable else v == "DISTORTED")]
        if wrong:
            raise DerivedFrames(attribute, wrong[0][:16], len(wrong))
    phases = {_first(header, "TemporalPositionIndex") for header in headers}
    if len(phases) > 1:
        raise MixedSeries("Temporal Position Index", len(phases))


def _header(dataset: Dataset, tags: list[BaseTag], shared: Dataset, own: Dataset, number: int) -> Dataset:
    header = Dataset()
    for tag in tags:
        header[tag] = dataset.get_item(tag)  # as it is: a name keeps the bytes that were received
    for group, keywords in GROUPS.items():
        item = (_items(own, Tag(group)) or _items(shared, Tag(group)) or [Dataset()])[0]
        for keyword in keywords:
            if keyword in item:
                header[keyword] = item[keyword]
    header.ReferencedFrameNumber = number
    is_implicit_vr, is_little_endian = dataset.original_encoding
    header.set_original_encoding(is_implicit_vr, is_little_endian, dataset.original_character_set)
    if hasattr(dataset, "file_meta"):
        header.file_meta = dataset.file_meta
    return header


def _items(dataset: Dataset, tag: BaseTag) -> Sequence[Dataset]:
    value = dataset[tag].value if tag in dataset else ()
    return value if isinstance(value, Sequence) else ()


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value]


def _first(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip().upper()


def _whole(dataset: Dataset, keyword: str) -> int:
    try:
        return int(dataset.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0
