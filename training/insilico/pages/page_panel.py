"""Beside the pictures of a page: the arteries, and what the record says in numbers and words."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import numpy as np
from jaxtyping import Float, Int32
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from inference.anatomy import Lobe
from training.drawing.palette import LOBE_COLOURS
from training.insilico.pages.page_sheet import (
    EDGE_MM,
    FAINT,
    HEIGHT_MM,
    LINE_MM,
    PANEL_MM,
    PAPER,
    TOP_MM,
    WIDTH_MM,
    Sheet,
)
from training.insilico.pages.record_lines import disease_lines, record_lines
from training.insilico.patient import Truth

CLOSED = "#ff3b30"
"""Colour of arteries that are narrowed or closed; they are drawn wide enough to be found."""
OPEN = 0.5
"""Share of the lumen from which on an artery is not called narrowed."""


def draw_arteries(sheet: Sheet, truth: Truth) -> None:
    """The tree from the front, widths to scale; without a tree, the drawn vessels one behind the other."""
    x, width, height = WIDTH_MM - EDGE_MM - PANEL_MM, PANEL_MM, 84.0
    sheet.text(x, TOP_MM - 2.5, "arteries", 11, weight="bold")
    sheet.text(
        x + width, TOP_MM - 2.5, "from the front; lobes by colour, red: narrowed or closed", 7, FAINT, ha="right"
    )
    axes = sheet.axes(x, TOP_MM, width, height)
    if truth.arteries is None or truth.lumen is None:
        shares = truth.vessels.max(axis=1)[::-1]
        axes.imshow(shares, cmap="gray", aspect=truth.grid.spacing_mm[0] / truth.grid.spacing_mm[2])
        return
    tree = truth.arteries
    is_closed = truth.lumen < OPEN
    order = np.lexsort((-tree.start_mm[:, 1], is_closed))  # drawn last: what is closed, then what is in front
    lines = np.stack([tree.start_mm, tree.end_mm], axis=1)[order][:, :, [0, 2]]
    lines_mm = lines.reshape(-1, 2)
    (left, bottom), (right, top) = lines_mm.min(axis=0) - 5.0, lines_mm.max(axis=0) + 5.0
    scale = min(width / (right - left), height / (top - bottom))
    points_per_mm = 72.0 / 25.4 * scale
    axes.add_collection(
        LineCollection(
            list(lines), colors=_artery_colours(tree.lobe, truth.lumen, tree.start_mm[:, 1])[order],
            linewidths=np.maximum(2.0 * tree.radius_mm * points_per_mm, np.where(is_closed, 2.5, 0.3))[order],
            capstyle="round",
        )
    )  # fmt: skip
    middle, half = 0.5 * (left + right), 0.5 * width / scale
    axes.set_xlim(middle - half, middle + half)
    axes.set_ylim(top - height / scale, top)


def _artery_colours(
    lobes: Int32[np.ndarray, " segments"],
    lumen: Float[np.ndarray, " segments"],
    depth_mm: Float[np.ndarray, " segments"],
) -> Float[np.ndarray, "segments 3"]:
    """Colour of the lobe, the fainter the farther back; red where less than half of the lumen is left."""
    table = np.array([to_rgb("#c8ccd2"), *(to_rgb(LOBE_COLOURS[lobe]) for lobe in Lobe)])
    behind = (depth_mm - depth_mm.min()) / max(float(np.ptp(depth_mm)), 1.0)
    faint = (0.65 * behind)[:, None]
    colours: np.ndarray = table[lobes] * (1.0 - faint) + np.array(to_rgb(PAPER)) * faint
    colours[lumen < OPEN] = to_rgb(CLOSED)
    return colours


def draw_facts(sheet: Sheet, truth: Truth, record: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    """Lobes, diseases with the colour of their outline, and what a physicist asks first."""
    x, y = WIDTH_MM - EDGE_MM - PANEL_MM, TOP_MM + 92.0
    y = _draw_lobes(sheet, x, y, record["truth"]["lobes"])
    y = _draw_diseases(sheet, x, y + 6.0, truth, record, colours)
    y += 6.0
    sheet.text(x, y, "record", 10, weight="bold")
    for label, value in record_lines(record)[: int((HEIGHT_MM - 8.0 - y) / LINE_MM) - 1]:
        y += LINE_MM
        sheet.text(x, y, label, 7.2, FAINT)
        sheet.text(x + 44.0, y, _cut(value, 36), 7.2)
    sheet.text(x, y + LINE_MM, "all of it, with the build of the body, in record.json", 7.2, FAINT, style="italic")


def _draw_lobes(sheet: Sheet, x: float, y: float, lobes: Mapping[str, Mapping[str, float | None]]) -> float:
    ends = (x + 38.0, x + 66.0, x + PANEL_MM)
    for end, head in zip(ends, ("volume, ml", "share of flow, %", "mean, 1 = lungs"), strict=True):
        sheet.text(end, y, head, 7.2, FAINT, ha="right")
    sheet.text(x, y, "lobe", 10, weight="bold")
    for lobe in Lobe:
        y += LINE_MM + 0.4
        facts = lobes[lobe.name]
        sheet.text(x, y, "■", 8, LOBE_COLOURS[lobe])
        sheet.text(x + 4.0, y, lobe.name, 8)
        share, mean = facts["share_of_perfusion"], facts["mean_perfusion"]
        texts = f"{facts['volume_ml']:.0f}", _or_none(share, 100.0, ".1f"), _or_none(mean, 1.0, ".2f")
        for end, text in zip(ends, texts, strict=True):
            sheet.text(end, y, text, 8, ha="right")
    return y


def _draw_diseases(
    sheet: Sheet, x: float, y: float, truth: Truth, record: Mapping[str, Any], colours: Mapping[str, str]
) -> float:
    sheet.text(x, y, "disease", 10, weight="bold")
    sheet.text(x + 66.0, y, "volume, ml", 7.2, FAINT, ha="right")
    sheet.text(x + PANEL_MM, y, "perfusion there", 7.2, FAINT, ha="right")
    told = disease_lines(record)
    for name in [*colours, *sorted({name for name, _ in told} - colours.keys())]:
        y += LINE_MM + 0.4
        sheet.text(x, y, "▢", 8, colours.get(name, FAINT))
        sheet.text(x + 4.0, y, _cut(name, 34), 8)
        if name in colours:
            lung = truth.diseases[name] & (truth.lobes > 0)
            mean = float(truth.perfusion[lung].mean(dtype=np.float64)) if lung.any() else None
            volume_ml = record["truth"]["disease_volume_ml"][name]
            sheet.text(x + 66.0, y, f"{volume_ml:.0f}", 8, ha="right")
            sheet.text(x + PANEL_MM, y, _or_none(mean, 1.0, ".2f"), 8, ha="right")
        for line in [line for named, details in told if named == name for line in wrap(details, 72)]:
            y += LINE_MM - 0.4
            sheet.text(x + 4.0, y, line, 6.6, FAINT)
    if not colours and not told:
        y += LINE_MM
        sheet.text(x, y, "none", 8)
    return y


def _or_none(value: float | None, factor: float, form: str) -> str:
    return "–" if value is None else format(value * factor, form)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
