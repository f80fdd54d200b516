"""The five lung lobes, the two sides, and what each is called.

Label values are ours and fixed: they are written to disk and into DICOM segmentations. Engines with other
label orders (lungmask: 1 = left upper … 5 = right lower) convert at their own edge.
Names follow AAPM TG-263 (`Lung_RUL` …).
"""

from enum import IntEnum, StrEnum


class Side(StrEnum):
    """The patient's side, never the viewer's."""

    LEFT = "L"
    RIGHT = "R"

    @property
    def tg263(self) -> str:
        """TG-263 name of the whole lung on this side, `Lung_L` or `Lung_R`."""
        return f"Lung_{self.value}"


class Lobe(IntEnum):
    """A lung lobe; the value is its label in a `LobeMap`."""

    RUL = 1
    RML = 2
    RLL = 3
    LUL = 4
    LLL = 5

    @property
    def side(self) -> Side:
        """The lung this lobe belongs to."""
        return Side.RIGHT if self.name.startswith("R") else Side.LEFT

    @property
    def tg263(self) -> str:
        """TG-263 name, for example `Lung_RUL`."""
        return f"Lung_{self.name}"


class Fissure(StrEnum):
    """The folds of pleura between lobes."""

    RIGHT_OBLIQUE = "right oblique"
    HORIZONTAL = "horizontal"
    """Between upper and middle lobe of the right lung."""
    LEFT_OBLIQUE = "left oblique"


def lobes_of(side: Side) -> tuple[Lobe, ...]:
    """Lobes of one lung from top to bottom."""
    return tuple(lobe for lobe in Lobe if lobe.side is side)
