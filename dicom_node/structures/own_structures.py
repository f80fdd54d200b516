"""Structure sets that were made from ours: a planner imports our structures, edits them, and exports them again.

Such a set bears another manufacturer's name, a UID of its own and often structures of the planner among ours. It is
known by what we wrote into it: our names of functional lung, which nobody else uses; all names of a set without them;
our label; a reference to an instance of ours. Planning systems change names on the way (`^` becomes `_`, letters become
capitals, a number is put behind a name that is taken), so names are compared by their letters and digits.

What a planner made of our structures is no structure to subtract: the next result would be cut by the one before.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final

from pydicom.dataset import Dataset

from dicom_node.objects.codes import RoiName
from inference.anatomy import Lobe, Side

OWN_MAKER: Final = "perfusion-node"
"""Manufacturer of our own structure sets, which come back from an archive now and then."""
OWN_DESCRIPTION: Final = "RESEARCH ONLY."
"""Every ROI Description of ours begins so."""
_FUNCTION: Final = (RoiName.HIGH, RoiName.LOW)
_ANATOMY: Final = (RoiName.LUNGS, *(side.tg263 for side in Side), *(lobe.tg263 for lobe in Lobe))


def plain_name(name: str) -> str:
    """A name by which it is found again whatever a planning system did with its separators and capitals."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().casefold()).strip("_")


FUNCTION_NAMES: Final = frozenset(plain_name(name) for name in _FUNCTION)
OWN_NAMES: Final = FUNCTION_NAMES | frozenset(plain_name(name) for name in _ANATOMY)


def roi_names(dataset: Dataset) -> dict[int, str]:
    """ROI Number to ROI Name of a structure set."""
    return {
        int(item.ROINumber): str(item.get("ROIName") or "") for item in dataset.get("StructureSetROISequence") or ()
    }


def own_rois(dataset: Dataset) -> set[int]:
    """Numbers of the ROIs of a structure set that are ours, edited or not."""
    described = {
        int(item.ROINumber)
        for item in dataset.get("StructureSetROISequence") or ()
        if str(item.get("ROIDescription") or "").startswith(OWN_DESCRIPTION)
    }
    names = roi_names(dataset)
    plain = {plain_name(name) for name in names.values()}
    is_ours = bool(described) or any(map(_is_function, plain)) or is_labelled(dataset)
    by_name = {n for n, name in names.items() if _is_function(plain_name(name)) or (is_ours and _is_own(name))}
    return described | by_name


def bears_our_names(names: Collection[str], written: Collection[str]) -> bool:
    """Whether the names in a structure set are those of one of ours: of functional lung, or all that were written.

    Args:
        names: in the set that came.
        written: in the set that we made.
    """
    found = {plain_name(name) for name in names}
    wanted = {plain_name(name) for name in written}
    return any(map(_is_function, found)) or (bool(wanted) and wanted <= found)


def is_labelled(dataset: Dataset) -> bool:
    """Whether its label is the usual one of ours."""
    from dicom_node.objects.profile import StructureSetProfile

    return str(dataset.get("StructureSetLabel") or "").strip() == StructureSetProfile().label


def referred_instances(dataset: Dataset) -> Iterator[str]:
    """Instances that a structure set names as what it was made from (PS3.3 C.8.8.5 and C.12.1)."""
    for keyword in ("PredecessorStructureSetSequence", "SourceInstanceSequence", "ReferencedInstanceSequence"):
        for item in dataset.get(keyword) or ():
            yield str(item.get("ReferencedSOPInstanceUID") or "")


def _is_function(plain: str) -> bool:
    """Whether a plain name is one of functional lung, perhaps with a number that a planning system put behind it."""
    return re.sub(r"_?\d+$", "", plain) in FUNCTION_NAMES


def _is_own(name: str) -> bool:
    return re.sub(r"_?\d+$", "", plain_name(name)) in OWN_NAMES
