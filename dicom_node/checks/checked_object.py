"""A DICOM file as the check sees it: elements as bytes until they are asked for.

pydicom keeps an element raw until it is read by keyword. The length of a number as text, a trailing repetition or a
byte in a wrong character set can only be seen before that, so rules about bytes use `raw_bytes`, and nothing here
converts more than it is asked for. Accessors never raise for an absent element; a value that cannot be read counts as
absent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from dicom_node.checks.faults import Fault
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind

_UNDEFINED_LENGTH = 0xFFFFFFFF

ImageName = tuple[str, int]
"""SOP Instance UID of an image and the frame of it, from 1; 0 for an image of one frame, or for all frames."""


class UnreadableFile(Exception):
    """A file that is no complete DICOM object; the text says why, without contents."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckedObject:
    """An object and the name that its faults carry."""

    name: str
    dataset: Dataset

    @property
    def kind(self) -> ObjectKind | None:
        """Which of the node's kinds this is, by SOP class; None for any other object."""
        return kind_of(self.dataset)

    def fault(self, code: str, sentence: str, where: str = "") -> Fault:
        """A fault of this object."""
        return Fault(code, self.name, sentence, where)


def read_object(path: Path, name: str) -> CheckedObject:
    """Read a file without converting its elements.

    Raises:
        UnreadableFile: it is no DICOM file or ends too early.
    """
    try:
        dataset = dcmread(path, force=True)  # without a preamble it can be read, and `FILE_META_DIFFERS` tells
    except Exception as fault:  # foreign bytes make pydicom fail in any way
        raise UnreadableFile(f"it cannot be read as DICOM ({type(fault).__name__})") from fault
    if not dataset.get("SOPClassUID"):
        raise UnreadableFile("it has no SOP Class UID")
    for tag in tags_of(dataset):
        element = stored_element(dataset, tag)
        if isinstance(element, RawDataElement) and _is_cut(element):
            raise UnreadableFile(f"it ends within {name_of(tag)}")
    return CheckedObject(name, dataset)


def kind_of(dataset: Dataset) -> ObjectKind | None:
    """Kind of the node's objects by SOP class; of two kinds with one class, the description of the series tells."""
    sop_class, description = text(dataset, "SOPClassUID"), text(dataset, "SeriesDescription")
    kinds = [kind for kind, series in OBJECT_SERIES.items() if series.sop_class_uid == sop_class]
    described = [kind for kind in kinds if OBJECT_SERIES[kind].series_description == description]
    return next(iter(described or kinds), None)


def text(dataset: Dataset, keyword: str) -> str:
    """A value as text; empty if absent, several values joined by backslashes."""
    try:
        value = dataset.get(keyword)
        return "\\".join(map(str, value)) if isinstance(value, (MultiValue, list, tuple)) else str(value or "")
    except Exception:  # a value that its VR does not allow
        return ""


def numbers(dataset: Dataset, keyword: str, count: int) -> Float[np.ndarray, " count"]:
    """`count` finite numbers, or NaN throughout if the element is absent or holds anything else."""
    try:
        values = np.atleast_1d(np.array(dataset.get(keyword), dtype=np.float64))
    except Exception:
        values = np.empty(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        return np.full(count, np.nan)
    return values


def integer(dataset: Dataset, keyword: str) -> int:
    """A whole number, or -1 if the element is absent or holds anything else."""
    (value,) = numbers(dataset, keyword, 1)
    return int(value) if np.isfinite(value) and value == round(value) else -1


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none if it is absent or no sequence."""
    try:
        value = dataset.get(keyword)
    except Exception:
        value = None
    return list(value) if isinstance(value, Sequence) else []


def code(items_of_sequence: list[Dataset]) -> tuple[str, str]:
    """Value and scheme of the first item of a code sequence; empty texts if there is none."""
    if not items_of_sequence:
        return "", ""
    first = items_of_sequence[0]
    return text(first, "CodeValue"), text(first, "CodingSchemeDesignator")


def referred_image(item: Dataset) -> ImageName:
    """The image, or its frame, that an item of a reference sequence names (PS3.3 table 10-3); frame -1 for several."""
    frame = integer(item, "ReferencedFrameNumber") if "ReferencedFrameNumber" in item else 0
    return text(item, "ReferencedSOPInstanceUID"), frame


def raw_bytes(dataset: Dataset, keyword: str) -> bytes | None:
    """The bytes of an element as they stand in the file; None if it is absent or was converted before."""
    if keyword not in dataset:
        return None
    element = stored_element(dataset, Tag(keyword))
    if isinstance(element, RawDataElement):
        return element.value or b""
    return element.value if element is not None and isinstance(element.value, bytes) else None


def nested_datasets(
    dataset: Dataset, where: str = "", *, leave_out: BaseTag | None = None
) -> Iterator[tuple[str, Dataset]]:
    """A dataset and every item of its sequences, with their places; other elements stay raw.

    Args:
        dataset: where to begin.
        where: place of `dataset` itself.
        leave_out: a sequence of `dataset` that is not entered.
    """
    yield where, dataset
    for tag in tags_of(dataset):
        if vr_of(stored_element(dataset, tag)) != "SQ" or (leave_out is not None and tag == leave_out):
            continue
        for number, item in enumerate(dataset[tag].value or (), start=1):
            yield from nested_datasets(item, f"{where}{name_of(tag)}[{number}].")


def tags_of(dataset: Dataset) -> list[BaseTag]:
    """Tags of a dataset; going through the dataset itself would convert its elements."""
    return list(dataset.keys())


def stored_element(dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement | None:
    """An element as it is, raw unless it has been asked for before."""
    return dataset.get_item(tag)


def vr_of(element: DataElement | RawDataElement | None) -> str:
    """Value representation of an element, from the dictionary where the file does not tell."""
    if element is None:
        return ""
    if (element.VR is None or element.VR == "UN") and dictionary_has_tag(element.tag):
        return dictionary_VR(element.tag)
    return element.VR or "UN"


def name_of(tag: BaseTag) -> str:
    """Keyword of a tag, else its number."""
    return keyword_for_tag(tag) or str(tag)


def _is_cut(element: RawDataElement) -> bool:
    return (
        element.length != _UNDEFINED_LENGTH and isinstance(element.value, bytes) and len(element.value) < element.length
    )
