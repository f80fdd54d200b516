"""The paper that all pictures of the report are drawn on: their width, their letters, their axes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.drawing.palette import FAINT, INK
from training.drawing.png import png

WIDTH_INCH = 8.6
DOTS_PER_INCH = 130
LETTERS = 8.5
"""Points of axis names; numbers at the axes are one smaller."""
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": LETTERS,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": LETTERS,
    "axes.titlesize": LETTERS,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": LETTERS - 1.0,
    "ytick.labelsize": LETTERS - 1.0,
    "legend.frameon": False,
    "legend.fontsize": LETTERS - 1.0,
}


@dataclass(slots=True)
class Canvas:
    """A drawing in the making."""

    figure: Figure

    def png(self, *, colours: int = 64) -> bytes:
        """The drawing as PNG; images want more colours than lines."""
        return png(self.figure, dots_per_inch=DOTS_PER_INCH, colours=colours)


@contextmanager
def canvas(height_inch: float) -> Iterator[Canvas]:
    """White paper of the width of all pictures; settings of the user stay out inside the `with`."""
    with matplotlib.style.context(["default", _SETTINGS]):
        yield Canvas(Figure(figsize=(WIDTH_INCH, height_inch), facecolor="white", layout="constrained"))


def rule(place: Axes, value: float, *, upright: bool = True) -> None:
    """A thin line at a value that means something, such as no difference."""
    draw = place.axvline if upright else place.axhline
    draw(value, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
