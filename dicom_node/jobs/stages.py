"""The stages of a case and their order. Apart from `pipeline` so that listing cases loads no imaging library."""

from enum import StrEnum


class Stage(StrEnum):
    """Where a case stands."""

    READ = "read"
    """Received instances become a CT volume."""
    SEGMENT = "segment"
    """Lungs and lobes are found."""
    PERFUSE = "perfuse"
    """Perfusion, function regions and the lobar table are found."""
    ENCODE = "encode"
    """DICOM objects are made."""
    CHECK = "check"
    """The objects are read back and checked; one fault, and nothing is sent."""
    DELIVER = "deliver"
    """Objects are sent, to each destination on its own."""
    VERIFY = "verify"
    """A destination is asked whether it has kept them."""
    NOTICE = "notice"
    """The case gave no result: a picture that says why is made."""
    TELL = "tell"
    """The picture is sent, to each destination that wants it."""
    SHADOW = "shadow"
    """Objects are sent to a destination that does not count, see `route_mode`."""
    CANDIDATE = "candidate"
    """A model in shadow maps the CT, too, and both maps are compared; only while nothing else is to be done."""
    RESEARCH = "research"
    """Objects of that model are sent to a research destination."""
    DISCARD = "discard"
    """A person wants held objects sent nowhere."""

    @classmethod
    def _missing_(cls, value: object) -> "Stage | None":
        """Rows of versions before this split have `infer`, which was `segment` and `perfuse` in one.

        One that was queued when the node was upgraded starts at `segment`; one that is done is followed by what that
        version queued after it, `encode`, whose input is the same file.
        """
        return cls.SEGMENT if value == "infer" else None


FOLLOWING = {
    Stage.READ: Stage.SEGMENT,
    Stage.SEGMENT: Stage.PERFUSE,
    Stage.PERFUSE: Stage.ENCODE,
    Stage.ENCODE: Stage.CHECK,
    Stage.CHECK: Stage.DELIVER,
    Stage.NOTICE: Stage.TELL,
    Stage.CANDIDATE: Stage.RESEARCH,
}
"""Which stage comes after which. `deliver` and `verify` take turns, see `delivery_history`; `tell` ends the road."""

ASIDE = (Stage.NOTICE, Stage.TELL, Stage.SHADOW, Stage.CANDIDATE, Stage.RESEARCH)
"""Stages beside the road: what becomes of a notice, a shadow or a candidate changes nothing of what is said of the
case."""
