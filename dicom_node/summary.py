"""One picture for people: CT with map and contours in three planes, the lobar table, findings, and who made it.

It is for looking, not for planning, and says RESEARCH on its face. No patient data is drawn.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from inference.anatomy import Lobe
from inference.engine import PerfusionResult
from inference.geometry import Grid, Reorientation
from inference.volumes import CtVolume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

LUNG_WINDOW_HU = (-1350.0, 150.0)
MAP_RANGE_PERCENT = (0.0, 200.0)
_BACKGROUND, _TEXT, _MUTED = "#101418", "#e8eaed", "#9aa0a6"
_HIGH_COLOUR, _LOW_COLOUR, _WARNING = "#ffffff", "#37b6ff", "#ffb74d"

# Plane name, axis cut, labels at left and right edge of the picture, label at its top.
_PLANES = (("coronal", 1, "R", "L", "head"), ("sagittal", 2, "ant", "post", "head"), ("axial", 0, "R", "L", "ant"))


def draw_summary(ct: CtVolume, result: PerfusionResult, path: Path) -> None:
    """Draw the page and write it as PNG to `path`, whatever its suffix."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(15, 9.2), facecolor=_BACKGROUND)
    try:
        _draw_planes(figure, ct, result)
        _draw_table(figure, result)
        _draw_words(figure, result)
        # No time stamp or version in the file: the same result gives the same bytes.
        figure.savefig(path, dpi=100, facecolor=_BACKGROUND, format="png", metadata={"Software": None})
    finally:
        plt.close(figure)


def _draw_planes(figure: "Figure", ct: CtVolume, result: PerfusionResult) -> None:
    order = Reorientation.to_patient_axes(ct.grid)
    grid = order.grid(ct.grid)
    lungs = order.apply(result.lobes.lungs)
    volumes = [order.apply(a) for a in (ct.hu, result.perfusion.values, result.regions.high, result.regions.low)]
    for k, (name, axis, left, right, top) in enumerate(_PLANES):
        at = _widest(lungs, axis, right_lung_only=name == "sagittal", lobes=order.apply(result.lobes.labels))
        cut = _cutter(axis, at)
        axes = figure.add_axes((0.015 + 0.312 * k, 0.36, 0.3, 0.53))
        extent = _extent(grid, axis)
        image = _draw_plane(axes, *(cut(volume) for volume in volumes), lungs=cut(lungs), extent=extent)
        position_mm = grid.to_patient_mm(np.eye(3)[axis] * at)[2 - axis]
        axes.set_title(f"{name}, {'xyz'[2 - axis]} = {position_mm:.0f} mm", color=_MUTED, fontsize=10)
        for x, y, text in ((0.03, 0.5, left), (0.97, 0.5, right), (0.5, 0.97, top)):
            axes.text(
                x, y, text, transform=axes.transAxes, color=_TEXT, fontsize=11, ha="center", va="center",
                bbox={"facecolor": _BACKGROUND, "alpha": 0.6, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
    bar = figure.colorbar(image, cax=figure.add_axes((0.952, 0.42, 0.008, 0.41)))
    bar.set_label("relative perfusion, % of lung mean", color=_TEXT, fontsize=9)
    bar.ax.tick_params(colors=_TEXT, labelsize=8)


def _cutter(axis: int, at: int) -> Callable[[Shaped[np.ndarray, "a b c"]], Shaped[np.ndarray, "d e"]]:
    """Cut a volume with patient axes; rows run downwards: to the feet, or for axial to posterior."""

    def cut(volume: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "d e"]:
        plane: np.ndarray = volume.take(at, axis=axis)
        return plane if axis == 0 else plane[::-1]

    return cut


def _extent(grid: Grid, axis: int) -> tuple[float, float, float, float]:
    rows, columns = [k for k in range(3) if k != axis]
    height, width = grid.shape[rows] * grid.spacing_mm[rows], grid.shape[columns] * grid.spacing_mm[columns]
    return 0.0, width, height, 0.0


def _widest(
    lungs: Shaped[np.ndarray, "a b c"], axis: int, *, right_lung_only: bool, lobes: Shaped[np.ndarray, "a b c"]
) -> int:
    """The cut that shows most lung; the sagittal one goes through the right lung, which has three lobes."""
    shown = np.isin(lobes, [Lobe.RUL, Lobe.RML, Lobe.RLL]) if right_lung_only else lungs
    return int(np.argmax(shown.sum(axis=tuple(k for k in range(3) if k != axis))))


def _draw_plane(
    axes: "Axes",
    hu: np.ndarray,
    perfusion: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    *,
    lungs: np.ndarray,
    extent: tuple[float, float, float, float],
) -> "AxesImage":
    axes.imshow(hu, cmap="gray", vmin=LUNG_WINDOW_HU[0], vmax=LUNG_WINDOW_HU[1], extent=extent, aspect="equal")
    shown = np.ma.masked_where(~lungs, perfusion * 100.0)
    image = axes.imshow(
        shown, cmap="inferno", vmin=MAP_RANGE_PERCENT[0], vmax=MAP_RANGE_PERCENT[1], alpha=0.6, extent=extent,
        aspect="equal", interpolation="nearest",
    )  # fmt: skip
    for mask, colour in ((high, _HIGH_COLOUR), (low, _LOW_COLOUR)):
        if mask.any() and not mask.all():
            # The same pixel centres as the images: half a pixel inside the extent.
            x = (np.arange(mask.shape[1]) + 0.5) * extent[1] / mask.shape[1]
            y = (np.arange(mask.shape[0]) + 0.5) * extent[2] / mask.shape[0]
            axes.contour(x, y, mask.astype(float), levels=[0.5], colors=colour, linewidths=0.7)
    axes.set_axis_off()
    return image


def _draw_table(figure: "Figure", result: PerfusionResult) -> None:
    axes = figure.add_axes((0.02, 0.02, 0.45, 0.3))
    axes.set_axis_off()
    heads = ("lobe", "volume\nml", "mean perfusion\n% of lung mean", "share of\nperfusion, %", "high\n%", "low\n%")
    columns = (0.0, 0.2, 0.38, 0.6, 0.8, 0.95)
    for x, head in zip(columns, heads, strict=True):
        axes.text(x, 0.97, head, color=_MUTED, fontsize=9.5, va="top", ha="left" if x == 0 else "center")
    for k, (lobe, row) in enumerate(result.lobar.items()):
        cells = (
            lobe.tg263,
            f"{row.volume_ml:.0f}",
            f"{100 * row.mean_perfusion:.0f}",
            f"{100 * row.perfusion_fraction:.1f}",
            f"{100 * row.high_fraction:.0f}",
            f"{100 * row.low_fraction:.0f}",
        )
        for x, cell in zip(columns, cells, strict=True):
            axes.text(x, 0.72 - 0.14 * k, cell, color=_TEXT, fontsize=11.5, ha="left" if x == 0 else "center")


def _draw_words(figure: "Figure", result: PerfusionResult) -> None:
    figure.text(0.015, 0.95, "Relative lung perfusion predicted from CT", color=_TEXT, fontsize=18, weight="bold")
    figure.text(0.985, 0.95, "RESEARCH, not for clinical decisions", color=_WARNING, fontsize=14, ha="right")
    figure.text(0.015, 0.915, "white: high-functional lung   ", color=_HIGH_COLOUR, fontsize=10)
    figure.text(0.155, 0.915, "blue: low-functional lung", color=_LOW_COLOUR, fontsize=10)
    lines = [f"Lobes: {result.lobes.segmenter.label()}", f"Perfusion: {result.perfusion.model.label()}"]
    caveats = [i.caveat for i in (result.lobes.segmenter, result.perfusion.model) if i.caveat]
    findings = [f"{f.severity.value.upper()}: {f.sentence}" for f in result.findings]
    y = 0.315
    for text, colour in (
        *((line, _TEXT) for line in lines),
        *((line, _WARNING) for line in caveats),
        (result.regions.rule.statement(), _MUTED),
        *([(line, _WARNING) for line in findings] or [("Quality checks: nothing to report.", _MUTED)]),
    ):
        for part in textwrap.wrap(text, 88):
            figure.text(0.5, y, part, color=colour, fontsize=10, va="top")
            y -= 0.024
