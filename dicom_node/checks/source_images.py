"""The rule that frames name the right images of the CT as their source."""

from collections.abc import Iterator, Sequence

from dicom_node.checks.checked_object import CheckedObject
from dicom_node.checks.faults import Fault
from dicom_node.checks.frames import Frame
from dicom_node.checks.source_ct import SourceCt


def check_source_images(
    checked: CheckedObject, frames: Sequence[Frame], places: Sequence[int | None], ct: SourceCt, code: str
) -> Iterator[Fault]:
    """Whether each frame names the CT image or frame at its position, and no other, as its source."""
    wrong = [
        frame
        for frame, k in zip(frames, places, strict=True)
        if k is not None and frame.source_images != {ct.images[k]}
    ]
    if wrong:
        sentence = f"{len(wrong)} frame(s) do not name the CT image at their position as their source"
        yield checked.fault(code, sentence, wrong[0].name)
