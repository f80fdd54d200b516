"""A Spatial Registration object: how its frames of reference lie on each other (PS3.3 C.20.2).

Each item of its Registration Sequence has a matrix that maps **from** the coordinates of that item, the source, **to**
those of the object's own Frame of Reference (C.20.2.1.1). A link from SPECT to CT therefore goes up by the matrix of
the SPECT's item and down by the inverse of that of the CT's. Only rigid matrices are taken: a scaled or sheared SPECT
is another image. Deformable registrations are another class of object and are not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SpatialRegistrationStorage

from training.errors import RegistrationUnusable
from training.pairs.rigid import Rigid


@dataclass(frozen=True, slots=True)
class RegistrationObject:
    """What one object says."""

    sop_instance_uid: str
    into_own: Mapping[str, Rigid]
    """By Frame of Reference UID: the movement from that frame to the object's own. The own one is always there."""

    def link(self, source_uid: str, target_uid: str) -> Rigid | None:
        """The movement from one frame of reference to another; None if the object does not speak of both."""
        if source_uid not in self.into_own or target_uid not in self.into_own:
            return None
        return self.into_own[target_uid].inverse.after(self.into_own[source_uid])


def read_registration(dataset: Dataset, frames: Mapping[str, str]) -> RegistrationObject:
    """Take the movements out of an object.

    Args:
        dataset: the object.
        frames: Frame of Reference UID of images by SOP Instance UID, for items that name images only.

    Raises:
        RegistrationUnusable: it is no Spatial Registration, names no frame of reference, speaks of one frame twice in
            two ways, or holds a matrix that is not rigid.
    """
    uid = str(dataset.get("SOPInstanceUID", ""))
    if dataset.get("SOPClassUID") != SpatialRegistrationStorage:
        raise RegistrationUnusable("it is no Spatial Registration object")
    own = str(dataset.get("FrameOfReferenceUID") or "")
    if not own:
        raise RegistrationUnusable("it names no Frame of Reference of its own")
    into_own = {own: Rigid.identity()}
    for item in dataset.get("RegistrationSequence") or ():
        frame = _frame_of(item, frames)
        if frame is None:
            continue  # images that are not here
        movement = _movement(item)
        known = into_own.setdefault(frame, movement)
        if np.abs(known.matrix - movement.matrix).max() > 1e-3:
            raise RegistrationUnusable("it gives two different movements for one Frame of Reference")
    return RegistrationObject(uid, into_own)


def _frame_of(item: Dataset, frames: Mapping[str, str]) -> str | None:
    """The frame of reference that an item speaks of: named, or that of its images."""
    named = str(item.get("FrameOfReferenceUID") or "")
    if named:
        return named
    images = [str(each.get("ReferencedSOPInstanceUID", "")) for each in item.get("ReferencedImageSequence") or ()]
    known = {frames[uid] for uid in images if frames.get(uid)}
    if len(known) > 1:
        raise RegistrationUnusable("one of its items names images in several Frames of Reference")
    return known.pop() if known else None


def _movement(item: Dataset) -> Rigid:
    """The product of the matrices of an item; there is one in all but odd objects, and then order does not matter."""
    matrices = [
        matrix
        for registration in item.get("MatrixRegistrationSequence") or ()
        for matrix in registration.get("MatrixSequence") or ()
    ]
    if len(matrices) != 1:
        raise RegistrationUnusable(f"an item has {len(matrices)} matrices; this program reads those with one")
    kind = str(matrices[0].get("FrameOfReferenceTransformationMatrixType") or "")
    numbers = [float(value) for value in matrices[0].get("FrameOfReferenceTransformationMatrix") or ()]
    if len(numbers) != 16:
        raise RegistrationUnusable(f"a matrix has {len(numbers)} numbers instead of 16")
    try:
        return Rigid(np.array(numbers).reshape(4, 4))
    except ValueError as fault:
        raise RegistrationUnusable(f"a matrix (type {kind or 'not said'}) is not rigid: {fault}") from fault
