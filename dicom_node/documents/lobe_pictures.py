"""Draws what each lobe engine makes of a CT: `python -m dicom_node.documents.lobe_pictures CT_FOLDER docs/images`.

For `docs/lobes.md`. Two cuts of each plane, in a window that shows fissures and the vessels that end before them;
lobes are outlines, so that nothing is hidden. The right lung is on the left of the picture, as everywhere.
"""

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from inference.anatomy import Lobe
from inference.atlas.atlas_lobes import AtlasLobes, draw_lobes
from inference.atlas.lungs import find_lungs
from inference.ct.series import read_ct_files
from inference.geometry import Grid, Reorientation
from inference.volumes import CtVolume

COLOURS = {
    Lobe.RUL: "#ff6b5e",
    Lobe.RML: "#7be07b",
    Lobe.RLL: "#5aa9ff",
    Lobe.LUL: "#ffd24a",
    Lobe.LLL: "#d58cff",
}
WINDOW_HU = (-980.0, -560.0)
"""Narrower than a lung window: fissures are faint."""
_GREYS = 96
_BLENDS = 0.4, 0.7, 1.0
_BLENDED_GREYS = 6
_MARGIN_MM = 8.0
_SIZE_INCHES = (12.0, 7.6)
_DOTS_PER_INCH = 100

Labels = UInt8[np.ndarray, "s p l"]
CUTS: Mapping[str, tuple[int, tuple[float, float]]] = {
    "axial": (0, (0.42, 0.62)),
    "coronal": (1, (0.38, 0.60)),
    "sagittal": (2, (0.22, 0.76)),
}
"""Axis that is cut, and where, as shares of the box around the lungs; the sagittal ones go through one lung each."""


def plain_atlas(ct: CtVolume) -> UInt8[np.ndarray, "s r c"]:
    """The atlas without a look at the fissures."""
    labels, _ = draw_lobes(find_lungs(ct))
    return labels


def atlas_lobes(ct: CtVolume) -> UInt8[np.ndarray, "s r c"]:
    """The engine `atlas` as it is served."""
    return AtlasLobes().segment(ct).labels


ENGINES: Mapping[str, tuple[str, Callable[[CtVolume], UInt8[np.ndarray, "s r c"]]]] = {
    "lobes-a0001-plain": ("Plain atlas, no fissure looked at", plain_atlas),
    "lobes-a0001-atlas": ("Engine 'atlas': fissures followed where they show", atlas_lobes),
}
"""Name of the picture, its title, and what draws the lobes. Engines that need weights are not here: none can be had."""


def main(folder: Path, pictures: Path) -> None:
    """Draw one picture for each engine."""
    ct = read_ct_files(sorted(path for path in folder.iterdir() if path.is_file()))
    pictures.mkdir(parents=True, exist_ok=True)
    for name, (title, engine) in ENGINES.items():
        (pictures / f"{name}.png").write_bytes(picture(ct, engine(ct), title))


def picture(ct: CtVolume, labels: UInt8[np.ndarray, "s r c"], title: str) -> bytes:
    """PNG of two cuts of each plane with the outlines of the lobes."""
    axes = Reorientation.to_patient_axes(ct.grid)
    hu, drawn, grid = axes.apply(ct.hu), axes.apply(labels), axes.grid(ct.grid)
    figure = Figure(figsize=_SIZE_INCHES, facecolor="white")
    places = figure.subplots(2, len(CUTS), gridspec_kw={"width_ratios": [1.25, 1.1, 0.95]})
    box = _shown(drawn, grid)
    for column, (plane, (axis, shares)) in enumerate(CUTS.items()):
        for row, share in enumerate(shares):
            inside = box[axis]
            index = int(inside.start + share * (inside.stop - inside.start))
            cut = tuple(index if k == axis else part for k, part in enumerate(box))
            _draw(places[row, column], hu[cut], drawn[cut], grid, axis, f"{plane}, {_place(grid, axis, index)}")
    voxels = np.bincount(drawn.ravel(), minlength=len(Lobe) + 1)
    lines = [Line2D([], [], color=colour, linewidth=3) for colour in COLOURS.values()]
    words = [f"{lobe.name} {100.0 * voxels[lobe] / max(voxels[1:].sum(), 1):.0f} %" for lobe in COLOURS]
    figure.legend(lines, words, loc="lower center", ncols=len(Lobe), frameon=False)
    figure.suptitle(title, fontsize=12)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.90, bottom=0.07, wspace=0.03, hspace=0.12)
    return _png(figure)


def _shown(labels: Labels, grid: Grid) -> tuple[slice, ...]:
    """The box of the lungs with a margin."""
    parts = []
    for axis, spacing in enumerate(grid.spacing_mm):
        inside = np.flatnonzero(labels.any(axis=tuple(k for k in range(3) if k != axis)))
        margin = int(_MARGIN_MM / spacing)
        parts.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + margin + 1))
    return tuple(parts)


def _place(grid: Grid, axis: int, index: int) -> str:
    position = np.zeros(3)
    position[axis] = index
    name = "zyx"[axis]
    return f"{name} = {grid.to_patient_mm(position)[2 - axis]:.0f} mm"


def _draw(
    place: Axes, hu: Float32[np.ndarray, "r c"], labels: UInt8[np.ndarray, "r c"], grid: Grid, axis: int, title: str
) -> None:
    rows, columns = (spacing for k, spacing in enumerate(grid.spacing_mm) if k != axis)
    place.imshow(
        hu,
        cmap="gray",
        vmin=WINDOW_HU[0],
        vmax=WINDOW_HU[1],
        aspect=rows / columns,
        origin="upper" if axis == 0 else "lower",
    )
    for lobe, colour in COLOURS.items():
        mask = np.pad(labels == lobe, 1).astype(np.float32)
        if mask.any():
            extent = np.arange(-1, mask.shape[1] - 1), np.arange(-1, mask.shape[0] - 1)
            place.contour(*extent, mask, levels=[0.5], colors=colour, linewidths=1.1)
    place.set_title(title, fontsize=9)
    place.axis("off")


def _png(figure: Figure) -> bytes:
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DOTS_PER_INCH)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    file = io.BytesIO()
    image.quantize(palette=_palette(), dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _palette() -> Image.Image:
    """Greys, and each lobe's colour over a few of them: few colours make a small file."""
    greys = [np.full(3, grey) for grey in np.linspace(0.0, 255.0, _GREYS)]
    lines = [np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) for colour in COLOURS.values()]
    below = np.linspace(0.0, 255.0, _BLENDED_GREYS)
    mixed = [share * line + (1.0 - share) * grey for line in lines for share in _BLENDS for grey in below]
    palette = Image.new("P", (1, 1))
    palette.putpalette([round(value) for colour in (greys + mixed) for value in colour])
    return palette


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
