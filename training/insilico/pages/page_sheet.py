"""The paper that pages of pictures are drawn on: dark, measured in millimetres from its top left corner."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LABEL = "IN SILICO – NO PATIENT"
WARNING = "Invented anatomy, disease and images. Figures on it are never comparable with clinical ones."
WIDTH_MM, HEIGHT_MM, DPI = 440.0, 272.0, 110
EDGE_MM, TOP_MM, GAP_MM, PANEL_MM, LINE_MM = 8.0, 28.0, 3.0, 96.0, 3.9
"""Margin at both sides; where pictures begin; between them; width of the panel at the right; between its lines."""
PAPER, INK, FAINT, BAND = "#15181d", "#e8eaed", "#9aa3ad", "#0b6e6e"
DISEASE_COLOURS = ("#4dd2ff", "#7ee787", "#ff7bd5", "#ffffff", "#ffb86b", "#b8a1ff", "#f4ff61", "#ff6b6b")
SETTINGS = {"text.color": INK, "font.family": "DejaVu Sans"}
"""Of matplotlib, beside its own defaults; DejaVu Sans comes with it."""


class Sheet:
    """What is drawn so far; all places in millimetres from the top left corner."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(WIDTH_MM / 25.4, HEIGHT_MM / 25.4), facecolor=PAPER)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """A picture's place, without ticks and frame."""
        axes = self.figure.add_axes(
            (x / WIDTH_MM, 1.0 - (y + height) / HEIGHT_MM, width / WIDTH_MM, height / HEIGHT_MM)
        )
        axes.set_axis_off()
        return axes

    def text(self, x: float, y: float, text: str, size: float, colour: str = INK, **more: Any) -> None:
        """One line of text; `more` is for matplotlib."""
        more = {"va": "baseline", **more}
        self.figure.text(x / WIDTH_MM, 1.0 - y / HEIGHT_MM, text, fontsize=size, color=colour, **more)

    def head(self, title: str, below: str) -> None:
        """The band over the page that says that nobody is shown, with the name; a faint line below it."""
        band = self.axes(0.0, 0.0, WIDTH_MM, 13.0)
        band.axhspan(0.0, 1.0, color=BAND)
        band.set_xlim(0.0, 1.0)
        band.set_ylim(0.0, 1.0)
        self.text(EDGE_MM, 9.0, LABEL, 15, "white", weight="bold")
        self.text(98.0, 9.0, WARNING, 10, "white")
        self.text(WIDTH_MM - EDGE_MM, 9.0, title, 15, "white", weight="bold", ha="right")
        self.text(WIDTH_MM - EDGE_MM - PANEL_MM - GAP_MM, 21.5, below, 8, FAINT, ha="right")
