"""Pictures as small PNG files: few colours, no time stamp, equal drawings give equal bytes."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


def png(figure: Figure, *, dots_per_inch: int = 90, colours: int = 64) -> bytes:
    """The drawing as PNG with a palette.

    Args:
        figure: the drawing, laid out.
        dots_per_inch: of the drawing.
        colours: at most 256; text and lines need few, images many.
    """
    figure.set_dpi(dots_per_inch)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    few = image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, "PNG", optimize=True)
    return file.getvalue()


def plain(place: Axes, *, size: float = 7.0) -> None:
    """Axes without a frame at top and right, with small numbers."""
    place.tick_params(labelsize=size)
    place.spines[["top", "right"]].set_visible(False)
