"""What planning systems want differently in an RT Structure Set, as one frozen choice.

Profiles are small TOML files (`configs/profiles/`); `dicom_node.settings.profile_files` reads them. What holds for
everybody (numbers of at most 16 bytes, names of at most 16 characters, implicit VR, keyholes, exact planes) is no
choice and stands in `structure_set`.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from dicom_node.objects import codes
from dicom_node.objects.codes import RoiName, RoiType
from dicom_node.objects.contours import MOST_POINTS
from dicom_node.objects.kinds import ObjectKind, ObjectRole


class StructureGroup(StrEnum):
    """Structures that are chosen together."""

    LUNGS = "lungs"
    """Both lungs together and each side."""
    LOBES = "lobes"
    FUNCTION = "function"
    """High- and low-functional lung."""


class Sets(StrEnum):
    """How many structure sets a result gives."""

    ONE = "one"
    TWO = "two"
    """Anatomy apart from function, so that the one can be taken without the other."""


ANATOMY = (StructureGroup.LUNGS, StructureGroup.LOBES)


@dataclass(frozen=True, slots=True)
class StructureSetProfile:
    """How structure sets are written for one planning system."""

    name: str = "generic"
    basis: str = ""
    """Where the differences come from; for people, not part of any object."""
    name_separator: str = "^"
    """Before a custom qualifier in ROI names: `^` as in TG-263, or `_` where a planning system refuses it."""
    label: str = "PERF RESEARCH"
    """Structure Set Label (3006,0002), at most 16 characters."""
    function_roi_type: RoiType = RoiType.ORGAN
    """RT ROI Interpreted Type of high- and low-functional lung. AVOIDANCE says what it is for, but some planning
    systems treat that type in ways of their own."""
    sets: Sets = Sets.ONE
    structures: tuple[StructureGroup, ...] = tuple(StructureGroup)
    most_points: int = MOST_POINTS
    """Points of one contour; longer ones are cut into two that share a line."""

    def __post_init__(self) -> None:
        codes.roi_name(RoiName.HIGH, self.name_separator)
        if not 1 <= len(self.label) <= 16 or not self.label.isascii() or "\\" in self.label:
            raise ValueError(f"the label must have 1 to 16 ASCII characters, got {self.label!r}")
        if not 100 <= self.most_points <= MOST_POINTS:
            raise ValueError(f"most_points must lie between 100 and {MOST_POINTS}, got {self.most_points}")
        if not self.structures:
            raise ValueError("a structure set needs at least one group of structures")

    def digest(self) -> str:
        """SHA-256 of what shapes the object; part of its UIDs."""
        facts = {key: value for key, value in asdict(self).items() if key not in ("name", "basis")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def contents(self) -> dict[ObjectRole, tuple[StructureGroup, ...]]:
        """The structure sets of this profile and the groups in each, in the order they are sent."""
        stem = "" if self.name == "generic" else self.name
        if self.sets is Sets.ONE:
            return {ObjectRole(ObjectKind.STRUCTURE_SET, stem): self.structures}
        parts = {
            "anatomy": tuple(group for group in self.structures if group in ANATOMY),
            "function": tuple(group for group in self.structures if group not in ANATOMY),
        }
        return {
            ObjectRole(ObjectKind.STRUCTURE_SET, f"{stem}-{part}".lstrip("-")): groups
            for part, groups in parts.items()
            if groups
        }
