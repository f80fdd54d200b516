"""The lobar table as rows of text: lungs, their lobes, and both together."""

from dataclasses import dataclass

from inference.anatomy import Lobe, Side, lobes_of
from inference.lobar import together
from inference.volumes import LobarPerfusion, LobarTable

HEADS = (
    ("volume", "ml"),
    ("mean", "% of lung mean"),
    ("share of", "perfusion, %"),
    ("high", "% of volume"),
    ("low", "% of volume"),
)
"""Heads of the columns, in lines."""

NOT_DEFINED = "n/a"
"""Mean of nothing, share of nothing."""
_PLACES = {"U": "Upper lobe", "M": "Middle lobe", "L": "Lower lobe"}
_SIDES = {Side.RIGHT: "Right lung", Side.LEFT: "Left lung"}


@dataclass(frozen=True, slots=True)
class LobarRow:
    """One row."""

    title: str
    tg263: str
    cells: tuple[str, str, str, str, str]
    """Volume, mean perfusion, share of perfusion, high, low; of a region without a voxel the means are not defined."""
    share: float
    """Share of the perfusion of both lungs, 0 to 1."""
    is_sum: bool
    """Whether it adds up other rows."""


def lobar_rows(table: LobarTable) -> tuple[LobarRow, ...]:
    """Right lung, its lobes, left lung, its lobes, both lungs."""
    rows = []
    for side, title in _SIDES.items():
        lobes = lobes_of(side)
        rows.append(_row(title, side.tg263, together(table[lobe] for lobe in lobes), is_sum=True))
        rows += [_row(_PLACES[lobe.name[1]], lobe.tg263, table[lobe], is_sum=False) for lobe in lobes]
    return (*rows, _row("Both lungs", "Lungs", together(table[lobe] for lobe in Lobe), is_sum=True))


def _row(title: str, tg263: str, part: LobarPerfusion, *, is_sum: bool) -> LobarRow:
    if not part.volume_ml:
        return LobarRow(title, tg263, ("0", NOT_DEFINED, "0.0", NOT_DEFINED, NOT_DEFINED), 0.0, is_sum)
    cells = (
        f"{part.volume_ml:.0f}",
        f"{100.0 * part.mean_perfusion:.0f}",
        f"{100.0 * part.perfusion_fraction:.1f}",
        f"{100.0 * part.high_fraction:.0f}",
        f"{100.0 * part.low_fraction:.0f}",
    )
    return LobarRow(title, tg263, cells, part.perfusion_fraction, is_sum)
