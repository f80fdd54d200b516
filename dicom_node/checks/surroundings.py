"""What an object is checked against: its CT, what it should hold, and the objects beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.uid import ParametricMapStorage, SegmentationStorage

from dicom_node.checks.expected import Expected
from dicom_node.checks.faults import Need, Rule
from dicom_node.checks.source_ct import SourceCt

_REFERRED = {str(uid) for uid in (ParametricMapStorage, SegmentationStorage)}
"""SOP classes that a report refers to, besides the images of the CT."""


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What is at hand while one object is checked; each part may be absent."""

    ct: SourceCt | None = None
    expected: Expected = field(default_factory=Expected)
    instances: Mapping[str, str] = field(default_factory=dict)
    """SOP class of every instance at hand, objects and images of the CT, by SOP Instance UID."""
    segments: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Number and label of each segment, by SOP Instance UID of the segmentation."""
    has_all_objects: bool = False
    """Whether an instance that is not at hand is one that does not exist."""

    def lacks(self, rule: Rule) -> Need | None:
        """What is missing to try a rule; None if nothing is."""
        if rule.need is None:
            return None
        at_hand = {
            Need.CT: True,
            Need.MASKS: bool(self.expected.masks),
            Need.MAP: self.expected.percent is not None,
            Need.FIGURES: self.expected.lobar is not None,
            Need.OBJECTS: self.has_all_objects or set(self.instances.values()) >= _REFERRED,
            Need.RESULT: self.expected.is_complete,
        }
        if self.ct is None:
            return Need.CT
        return None if at_hand[rule.need] else rule.need
