"""Pictures are small, have few colours, and equal drawings have equal bytes."""

import io

from matplotlib.figure import Figure
from PIL import Image

from training.drawing.png import plain, png


def drawing(colour: str) -> Figure:
    figure = Figure(figsize=(2.0, 1.0))
    place = figure.subplots()
    place.plot([0.0, 1.0], [0.0, 1.0], color=colour)
    plain(place)
    return figure


def test_a_drawing_has_its_size_in_dots_and_at_most_the_colours_asked_for() -> None:
    with Image.open(io.BytesIO(png(drawing("red"), dots_per_inch=100, colours=16))) as image:
        assert image.size == (200, 100)
        assert len(image.convert("RGB").getcolors(256)) <= 16
        assert "date" not in {key.lower() for key in image.info}


def test_equal_drawings_have_equal_bytes() -> None:
    assert png(drawing("red")) == png(drawing("red"))
    assert png(drawing("red")) != png(drawing("blue"))
