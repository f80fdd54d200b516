"""A sheet of paper measured in millimetres from its top left corner: text, boxes, lines and pictures on it.

What pages for people are drawn with. matplotlib renders; its coordinates, settings of the user and time stamps stay
out, so that the same calls give the same bytes as PNG and as PDF. Text is set in DejaVu Sans, which matplotlib
brings along; a character that the font lacks is drawn as `?`. Nothing is ever read as mathematics.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path as Outline

MM_PER_POINT = 25.4 / 72.0
LINE_HEIGHT = 1.42
"""Distance of baselines, in font sizes."""
_SETTINGS = {
    **{"text.hinting": "none", "pdf.fonttype": 42, "pdf.compression": 9, "path.simplify": False},
    "svg.hashsalt": "perfnode",  # else ids in the file are drawn anew each time
}

Align = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class TextStyle:
    """Size, colour and weight of a text."""

    size_pt: float
    colour: str
    bold: bool = False
    halo: str = ""
    """Colour of a thin rim for text on pictures; empty for none."""

    @property
    def leading_mm(self) -> float:
        """Distance between two baselines."""
        return self.size_pt * MM_PER_POINT * LINE_HEIGHT


@dataclass(frozen=True, slots=True)
class Stroke:
    """Colour, width and dashes of a line; without dashes it is solid."""

    colour: str
    width_pt: float
    dashes_pt: tuple[float, ...] = ()


@contextmanager
def blank_sheet(width_mm: float, height_mm: float, paper: str = "#ffffff") -> Iterator["Sheet"]:
    """An empty sheet. Draw and write inside the `with`: there the settings are ours, whatever the user's are."""
    import matplotlib.style

    with matplotlib.style.context(["default", _SETTINGS]):
        yield Sheet(width_mm, height_mm, paper)


class Sheet:
    """What is drawn so far. Made by `blank_sheet`."""

    def __init__(self, width_mm: float, height_mm: float, paper: str) -> None:
        from matplotlib.figure import Figure

        self._figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), facecolor=paper)
        self._axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set_axis_off()
        self._axes.set_xlim(0.0, width_mm)
        self._axes.set_ylim(height_mm, 0.0)
        self._axes.set_autoscale_on(False)

    def text(self, x_mm: float, y_mm: float, text: str, style: TextStyle, align: Align = "left") -> None:
        """One line of text with its baseline at `y_mm`."""
        from matplotlib.patheffects import withStroke

        rim = [withStroke(linewidth=0.25 * style.size_pt, foreground=style.halo)] if style.halo else None
        self._axes.text(
            x_mm, y_mm, drawable(text, bold=style.bold), ha=align, va="baseline", color=style.colour,
            fontproperties=_font(bold=style.bold), fontsize=style.size_pt, parse_math=False, usetex=False,
            path_effects=rim,
        )  # fmt: skip

    def box(self, x_mm: float, y_mm: float, width_mm: float, height_mm: float, colour: str) -> None:
        """A filled rectangle; `x_mm` and `y_mm` are its top left corner."""
        from matplotlib.patches import Rectangle

        self._axes.add_artist(Rectangle((x_mm, y_mm), width_mm, height_mm, facecolor=colour, edgecolor="none"))

    def line(self, x_mm: tuple[float, ...], y_mm: tuple[float, ...], stroke: Stroke) -> None:
        """A line through points."""
        self._axes.plot(x_mm, y_mm, solid_capstyle="butt", dash_capstyle="butt", **_line(stroke))

    def picture(
        self, x_mm: float, y_mm: float, width_mm: float, height_mm: float, rgb: UInt8[np.ndarray, "rows columns 3"]
    ) -> None:
        """A picture whose outer pixel edges lie on the rectangle."""
        from matplotlib.image import AxesImage

        extent = (x_mm, x_mm + width_mm, y_mm + height_mm, y_mm)
        image = AxesImage(self._axes, extent=extent, interpolation="hanning", origin="upper", resample=True)
        image.set_data(rgb)
        self._axes.add_image(image)

    def inner_outline(self, rings_mm: list[Float[np.ndarray, "points 2"]], stroke: Stroke) -> None:
        """The border of an area, drawn just inside it, so that the borders of two neighbours lie side by side.

        Args:
            rings_mm: closed rings (x, y), holes turning the other way round than what they are holes of.
            stroke: its width is what is seen.
        """
        from matplotlib.patches import PathPatch

        if rings_mm:
            path = _outline(rings_mm)
            doubled = Stroke(stroke.colour, 2.0 * stroke.width_pt, stroke.dashes_pt)
            patch = PathPatch(path, facecolor="none", edgecolor=stroke.colour, **_line(doubled, of_patch=True))
            self._axes.add_artist(patch)  # add_patch would look at every vertex, for limits that are fixed here
            patch.set_clip_path(path, self._axes.transData)

    def write_png(self, path: Path, dpi: int) -> None:
        """Write a PNG to `path`, whatever its suffix, without time stamp and version."""
        self._figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})

    def write_svg(self, path: Path, title: str) -> None:
        """Write an SVG to `path` without time stamp and version; text becomes outlines, so that no font is missed."""
        self._figure.savefig(path, format="svg", metadata={"Title": title, "Creator": None, "Date": None})

    def pdf(self, title: str, dpi: int) -> bytes:
        """The sheet as PDF of one page, without time stamp and version; `dpi` is that of pictures in it."""
        return joined_pdf([self], title, dpi)

    def pixels(self, dpi: int) -> UInt8[np.ndarray, "rows columns 3"]:
        """The sheet as red, green and blue."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self._figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(self._figure)
        canvas.draw()
        return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])


def joined_pdf(sheets: Sequence[Sheet], title: str, dpi: int) -> bytes:
    """Sheets as PDF, one page each, without time stamp and version; drawn and written inside the `with` of each."""
    from matplotlib.backends.backend_pdf import PdfPages

    metadata = {"Title": title, "Creator": None, "Producer": None, "CreationDate": None}
    content = BytesIO()
    with PdfPages(content, metadata=metadata) as pages:
        for sheet in sheets:
            pages.savefig(sheet._figure, dpi=dpi)
    return content.getvalue()


def drawable(text: str, *, bold: bool = False) -> str:
    """The text with white space as single blanks and `?` for what the font cannot draw; composed where that helps."""
    glyphs = _glyphs(bold=bold)
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(c if ord(c) in glyphs else "?" for c in composed)


def text_width_mm(text: str, style: TextStyle) -> float:
    """Width of one line of text as if there were no kerning, which only ever makes it narrower."""
    return sum(_advances(drawable(text, bold=style.bold), style))


def _advances(text: str, style: TextStyle) -> list[float]:
    return [_advance_em(character, bold=style.bold) * style.size_pt * MM_PER_POINT for character in text]


def wrapped(text: str, style: TextStyle, limit_mm: float) -> list[str]:
    """The text in lines no wider than `limit_mm`; a word that is wider is broken."""
    lines: list[str] = []
    line = ""
    for word in drawable(text, bold=style.bold).split():
        candidate = f"{line} {word}".lstrip()
        if text_width_mm(candidate, style) <= limit_mm:
            line = candidate
            continue
        if line:
            lines.append(line)
        while text_width_mm(word, style) > limit_mm and len(word) > 1:
            head = _longest_start(word, style, limit_mm)
            lines.append(head)
            word = word[len(head) :]
        line = word
    return [*lines, line] if line else lines


def shortened(text: str, style: TextStyle, limit_mm: float) -> str:
    """The text if it is no wider than `limit_mm`, else its start and dots."""
    plain = drawable(text, bold=style.bold)
    if text_width_mm(plain, style) <= limit_mm:
        return plain
    return _longest_start(plain, style, limit_mm - text_width_mm("...", style)).rstrip() + "..."


def _longest_start(text: str, style: TextStyle, limit_mm: float) -> str:
    ends = accumulate(_advances(text, style))
    return text[: max(sum(end <= limit_mm for end in ends), 1)]


def _line(stroke: Stroke, *, of_patch: bool = False) -> dict[str, Any]:
    # matplotlib measures dashes in line widths.
    dashes = (0, tuple(d / stroke.width_pt for d in stroke.dashes_pt)) if stroke.dashes_pt else "solid"
    common: dict[str, Any] = {"linewidth": stroke.width_pt, "linestyle": dashes}
    return {**common, "joinstyle": "round"} if of_patch else {**common, "color": stroke.colour}


def _outline(rings_mm: list[Float[np.ndarray, "points 2"]]) -> "Outline":
    from matplotlib.path import Path as Outline

    codes = []
    for ring in rings_mm:
        codes += [Outline.MOVETO, *[Outline.LINETO] * (len(ring) - 2), Outline.CLOSEPOLY]
    return Outline(np.concatenate(rings_mm), codes)


@cache
def _font(*, bold: bool) -> "FontProperties":
    from matplotlib import get_data_path
    from matplotlib.font_manager import FontProperties

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return FontProperties(fname=Path(get_data_path()) / "fonts" / "ttf" / name)


@cache
def _advance_em(character: str, *, bold: bool) -> float:
    """Distance from a character to the next one, in font sizes."""
    from matplotlib.font_manager import get_font
    from matplotlib.ft2font import LoadFlags

    font = get_font(str(_font(bold=bold).get_file()))
    font.set_size(100.0, 72.0)
    return float(font.load_char(ord(character), flags=LoadFlags.NO_HINTING).linearHoriAdvance) / 65536.0 / 100.0


@cache
def _glyphs(*, bold: bool) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    return frozenset(get_font(str(_font(bold=bold).get_file())).get_charmap())
