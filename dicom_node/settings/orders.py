"""What a destination gets: the objects it ordered, in the form of its profile, and whether it hears of refusals."""

from dataclasses import dataclass, field

from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.profile import StructureSetProfile

DEFAULT_KINDS = (ObjectKind.PARAMETRIC_MAP, ObjectKind.STRUCTURE_SET)

NEEDS = {ObjectKind.REPORT: (ObjectKind.PARAMETRIC_MAP, ObjectKind.SEGMENTATION)}
"""Which other kinds an object refers to: without them its references would point at nothing."""


SEGMENTATIONS = tuple(ObjectRole(ObjectKind.SEGMENTATION, part) for part in ("lobes", "function"))
"""Functional regions overlap the lobes, so each have an object of their own."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one destination gets of every result."""

    kinds: tuple[ObjectKind, ...] = DEFAULT_KINDS
    """In the order they are sent."""
    profile: StructureSetProfile = field(default_factory=StructureSetProfile)
    refusal_notice: bool = True
    """Whether it gets a picture that says why, when a series gives no result."""

    def roles(self) -> tuple[ObjectRole, ...]:
        """Every object that is ordered, in the order they are sent."""
        return tuple(role for kind in self.kinds for role in self._roles_of(kind))

    def _roles_of(self, kind: ObjectKind) -> tuple[ObjectRole, ...]:
        if kind is ObjectKind.STRUCTURE_SET:
            return tuple(self.profile.contents())
        return SEGMENTATIONS if kind is ObjectKind.SEGMENTATION else (ObjectRole(kind),)

    def problems(self) -> list[str]:
        """What cannot be ordered so, in sentences."""
        problems = [
            f"{kind.value} refers to {other.value}, which must be ordered too"
            for kind, others in NEEDS.items()
            for other in others
            if kind in self.kinds and other not in self.kinds
        ]
        if ObjectKind.REFUSAL_NOTICE in self.kinds:
            problems.append("the notice of refusal is no part of a result; set refusal_notice instead")
        return problems
