"""A page of pictures of one in-silico patient: what machines show of it beside what is true.

Four columns (CT, lobes, true perfusion, SPECT) show the same three cuts; beside them lie the arteries and what the
record says. True perfusion and SPECT have one colour scale, each relative to its own mean over the true lungs. The
paper is dark, for the screens such images are looked at on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.images import Interpolation, resample
from inference.volumes import CtVolume
from training.drawing.palette import GREYS, LOBE_COLOURS, PERFUSION_MAP, PERFUSION_RANGE
from training.insilico.files.patient_files import PatientFolder
from training.insilico.pages.page_panel import draw_arteries, draw_facts
from training.insilico.pages.page_sheet import (
    DISEASE_COLOURS,
    DPI,
    EDGE_MM,
    FAINT,
    GAP_MM,
    HEIGHT_MM,
    INK,
    PANEL_MM,
    PAPER,
    SETTINGS,
    TOP_MM,
    WIDTH_MM,
    Sheet,
)
from training.insilico.pages.page_views import View, views_through
from training.insilico.patient import Truth

WINDOW_HU = (-1350.0, 150.0)
"""The usual lung window: centre -600, width 1500."""
RULER_MM = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Everything that the page draws."""

    title: str
    record: Mapping[str, Any]
    ct: CtVolume
    truth: Truth
    spect: Float32[np.ndarray, "slices rows columns"]
    """Relative to its mean over the true lungs."""
    spect_grid: Grid


def draw_page(patient: PatientFolder, page: Path) -> None:
    """Write the page of one patient as PNG. Equal patients give equal bytes.

    Args:
        patient: a whole patient.
        page: where the picture goes.

    Raises:
        OSError: a file of the patient cannot be read, or the page cannot be written.
        UnusableSeries: the CT is not what was written.
        NuclearImageUnusable: the SPECT is not what was written.
    """
    with matplotlib.style.context(["default", SETTINGS]):
        page.write_bytes(written(drawn(_shown(patient))))


def _shown(patient: PatientFolder) -> Shown:
    truth, ct, nuclear = patient.truth(), patient.ct(), patient.nuclear()
    lungs = resample(
        (truth.lobes > 0).astype(np.uint8), truth.grid, nuclear.grid, interpolation=Interpolation.NEAREST, outside=0.0
    )
    mean = float(nuclear.values[lungs > 0].mean(dtype=np.float64))
    title = f"{patient.patient}  {patient.record['cohort']}"
    return Shown(title, patient.record, ct, truth, (nuclear.values / np.float32(mean)), nuclear.grid)


def drawn(shown: Shown) -> Figure:
    """The page, under matplotlib settings of the caller."""
    sheet = Sheet()
    views, cause = views_through(shown.truth)
    sheet.head(shown.title, f"cuts through {cause}" if cause else "cuts through the right lung; no disease")
    colours = dict(zip(sorted(shown.truth.diseases), DISEASE_COLOURS * 9, strict=False))
    _draw_views(sheet, shown, views, colours)
    draw_arteries(sheet, shown.truth)
    draw_facts(sheet, shown.truth, shown.record, colours)
    return sheet.figure


def written(figure: Figure) -> bytes:
    """The page as PNG, without time stamp and version of the software."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DPI, facecolor=PAPER, metadata={"Software": None})
    return content.getvalue()


def _draw_views(sheet: Sheet, shown: Shown, views: tuple[View, ...], colours: Mapping[str, str]) -> None:
    room = HEIGHT_MM - TOP_MM - 3.0 * GAP_MM - 16.0, (WIDTH_MM - 2.0 * EDGE_MM - PANEL_MM - 4.0 * GAP_MM) / 4.0
    widest = max(view.width_mm for view in views)
    scale = min(room[0] / sum(view.height_mm for view in views), room[1] / widest)
    columns = ("CT", "lobes", "true perfusion", "SPECT")
    for number, name in enumerate(columns):
        x = EDGE_MM + number * (room[1] + GAP_MM)
        y = TOP_MM
        sheet.text(x, TOP_MM - 2.5, name, 11, weight="bold")
        for view in views:
            width, height = view.width_mm * scale, view.height_mm * scale
            axes = sheet.axes(x + 0.5 * (room[1] - width), y, width, height)
            _draw_cut(axes, name, shown, view, colours)
            _draw_letters(axes, view)
            if number == 0:
                label = f"{view.name}, {'xyz'[view.axis]} = {view.at_mm:.0f} mm"
                sheet.text(EDGE_MM - 2.0, y + 0.5 * height, label, 8, FAINT, rotation=90, ha="right", va="center")
            y += height + GAP_MM
    _draw_bar(sheet, EDGE_MM + 2.0 * (room[1] + GAP_MM), y + 1.0, 2.0 * room[1] + GAP_MM)
    _draw_legend(sheet, EDGE_MM, y + 3.5, 2.0 * room[1] - 28.0, colours)
    _draw_ruler(sheet, EDGE_MM + 2.0 * room[1], y + 3.5, RULER_MM * scale)


def _draw_cut(axes: Axes, column: str, shown: Shown, view: View, colours: Mapping[str, str]) -> None:
    truth = shown.truth
    lungs = view.of(truth.lobes > 0, truth.grid, outside=0.0)
    if column in ("CT", "lobes"):
        grey = view.of(shown.ct.hu, shown.ct.grid, outside=-1024.0)
        axes.imshow(
            grey, cmap=GREYS, vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=view.extent, interpolation="bilinear"
        )
    else:
        array, grid = (truth.perfusion, truth.grid) if column == "true perfusion" else (shown.spect, shown.spect_grid)
        values = view.of(array, grid, outside=0.0)
        axes.imshow(
            values, cmap=PERFUSION_MAP, vmin=PERFUSION_RANGE[0], vmax=PERFUSION_RANGE[1], extent=view.extent,
            interpolation="bilinear",
        )  # fmt: skip
        _outline(axes, lungs, view, "#ffffff", 0.6)
    if column == "lobes":
        for lobe, colour in LOBE_COLOURS.items():
            inside = view.of(truth.lobes == lobe, truth.grid, outside=0.0)
            fill = np.zeros((*inside.shape, 4))
            fill[...] = (*to_rgb(colour), 0.45)
            fill[..., 3] *= inside > 0.5
            axes.imshow(fill, extent=view.extent, interpolation="nearest")
            _outline(axes, inside, view, colour, 0.9)
    if column in ("CT", "true perfusion"):
        for name, colour in colours.items():
            _outline(axes, view.of(truth.diseases[name], truth.grid, outside=0.0), view, colour, 1.0)


def _outline(axes: Axes, inside: Float32[np.ndarray, "h w"], view: View, colour: str, width: float) -> None:
    if inside.max() > 0.5 > inside.min():
        axes.contour(inside, levels=[0.5], colors=[colour], linewidths=width, extent=view.extent, origin="upper")


def _draw_letters(axes: Axes, view: View) -> None:
    sides = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"))
    ends = ((0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom"))
    rim: dict[str, Any] = {"transform": axes.transAxes, "path_effects": [withStroke(linewidth=2.0, foreground="black")]}
    for letter, (x, y, ha, va) in zip(view.letters, sides + ends, strict=True):
        axes.text(x, y, letter, ha=ha, va=va, fontsize=7, color=INK, weight="bold", **rim)


def _draw_bar(sheet: Sheet, x: float, y: float, width: float) -> None:
    bar = sheet.axes(x, y, width, 3.0)
    bar.imshow(np.linspace(0.0, 1.0, 256)[None], cmap=PERFUSION_MAP, aspect="auto", extent=(*PERFUSION_RANGE, 0.0, 1.0))
    for value in np.arange(0.0, PERFUSION_RANGE[1] + 0.1, 0.5):
        part = (value - PERFUSION_RANGE[0]) / (PERFUSION_RANGE[1] - PERFUSION_RANGE[0])
        text = f"≥ {value:.1f}" if value == PERFUSION_RANGE[1] else f"{value:.1f}"
        align = "left" if part == 0.0 else "right" if part == 1.0 else "center"
        sheet.text(x + part * width, y + 7.0, text, 7.5, FAINT, ha=align)
    sheet.text(x + 0.5 * width, y + 10.5, "relative to the mean of both lungs (= 1.0)", 8, INK, ha="center")


def _draw_ruler(sheet: Sheet, end: float, y: float, length: float) -> None:
    """What `RULER_MM` of the patient are in all pictures; it ends at `end`."""
    line = sheet.axes(end - length, y - 1.6, length, 1.2)
    line.axhspan(0.0, 1.0, color=INK)
    line.set_xlim(0.0, 1.0)
    line.set_ylim(0.0, 1.0)
    sheet.text(end - length - 1.5, y, f"{RULER_MM:.0f} mm", 7.5, FAINT, ha="right")


def _draw_legend(sheet: Sheet, x: float, y: float, width: float, colours: Mapping[str, str]) -> None:
    entries = [(lobe.name, colour) for lobe, colour in LOBE_COLOURS.items()] + list(colours.items())
    at, line = x, y
    for name, colour in entries:
        length = 7.0 + 1.75 * len(name)
        if at + length > x + width:
            at, line = x, line + 4.2
        sheet.text(at, line, "■" if name in Lobe.__members__ else "▢", 8, colour)
        sheet.text(at + 3.5, line, name, 7.5, FAINT)
        at += length
