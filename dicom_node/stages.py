"""The stages of a case and their order. Apart from `pipeline` so that listing cases loads no imaging library."""

from enum import StrEnum


class Stage(StrEnum):
    """Where a case stands."""

    READ = "read"
    """Received instances become a CT volume."""
    INFER = "infer"
    """Lobes, perfusion and function regions are found."""
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


FOLLOWING = {
    Stage.READ: Stage.INFER,
    Stage.INFER: Stage.ENCODE,
    Stage.ENCODE: Stage.CHECK,
    Stage.CHECK: Stage.DELIVER,
    Stage.NOTICE: Stage.TELL,
}
"""Which stage comes after which. `deliver` and `verify` take turns, see `delivery_history`; `tell` ends the road."""

ASIDE = (Stage.NOTICE, Stage.TELL)
"""Stages beside the road: what becomes of a notice does not change what is said of the case."""
