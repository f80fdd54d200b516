"""Whether objects of a pair say of each other what their link says; true of them before they come in, and after."""

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from training.errors import PairRefused
from training.store.stored_pair import LinkName


def require_link(
    kind: LinkName, ct: Sequence[Dataset], nuclear: Sequence[Dataset], registration: Dataset | None
) -> None:
    """Look at Frames of Reference and, if the link is from one, at the registration object (PS3.3 C.20.2).

    Args:
        kind: how the pair is linked.
        ct: headers of the CT.
        nuclear: headers of the perfusion image.
        registration: the Spatial Registration object.

    Raises:
        PairRefused: with the reason code BROKEN_LINK.
    """
    if (kind == "registration-object") != (registration is not None):
        raise PairRefused("BROKEN_LINK", "a link by a registration object needs that object, and no other link does")
    frames = [str(image[0].get("FrameOfReferenceUID") or "") for image in (ct, nuclear)]
    if kind == "frame-of-reference" and (frames[0] != frames[1] or not frames[0]):
        raise PairRefused("BROKEN_LINK", "CT and perfusion image name no common Frame of Reference")
    if registration is None:
        return
    named, images = _named(registration)
    for image, frame in zip((ct, nuclear), frames, strict=True):
        if (not frame or frame not in named) and not images & {str(header.SOPInstanceUID) for header in image}:
            raise PairRefused("BROKEN_LINK", "the registration object names neither frame nor images of one of the two")


def _named(registration: Dataset) -> tuple[set[str], set[str]]:
    """Frames of Reference and SOP Instances that a registration object moves, or moves them to."""
    frames, images = {str(registration.get("FrameOfReferenceUID") or "")}, set()
    for item in _items(registration, "RegistrationSequence"):
        frames.add(str(item.get("FrameOfReferenceUID") or ""))
        for reference in _items(item, "ReferencedImageSequence"):
            images.add(str(reference.get("ReferencedSOPInstanceUID") or ""))
    return frames - {""}, images - {""}


def _items(dataset: Dataset, keyword: str) -> Sequence[Any]:
    return dataset.get(keyword) or ()
