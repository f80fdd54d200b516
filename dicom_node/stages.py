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
    DELIVER = "deliver"
    """Objects are sent, to each destination on its own."""


FOLLOWING = {Stage.READ: Stage.INFER, Stage.INFER: Stage.ENCODE, Stage.ENCODE: Stage.DELIVER}
"""Which stage comes after which; `deliver` ends the road."""
