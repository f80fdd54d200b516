import numpy as np
import pytest

from dicom_node.pages.sheet import Stroke, TextStyle, blank_sheet, drawable, shortened, text_width_mm, wrapped

STYLE = TextStyle(9.0, "#000000")
TEXT = "Approximate lobes: atlas fitted to the lungs by published volume shares, fissures not seen."


@pytest.mark.parametrize("limit_mm", [9.0, 30.0, 80.0, 500.0])
@pytest.mark.parametrize("text", [TEXT, "", "i" * 500, f"{'W' * 90} and {'x' * 90} end"])
def test_wrapped_lines_keep_to_the_limit_and_lose_nothing(text, limit_mm):
    lines = wrapped(text, STYLE, limit_mm)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(text_width_mm(line, STYLE) <= limit_mm for line in lines)


def test_lines_break_between_words_where_they_can():
    assert " ".join(wrapped(TEXT, STYLE, 40.0)) == TEXT
    assert len(wrapped(TEXT, STYLE, 40.0)) == pytest.approx(text_width_mm(TEXT, STYLE) / 40.0, abs=1.5)


def test_a_text_that_is_too_wide_ends_in_dots_inside_the_limit():
    assert shortened("short", STYLE, 40.0) == "short"
    cut = shortened("long " * 30, STYLE, 40.0)
    assert cut.startswith("long long")
    assert cut.endswith("...")
    assert 30.0 < text_width_mm(cut, STYLE) <= 40.0


def test_only_what_the_font_has_is_drawn():
    assert drawable("Müller\t\n Привет 山田 e\N{COMBINING ACUTE ACCENT}") == "Müller Привет ?? é"
    assert drawable("bell \x07") == "bell ?"


def test_text_is_as_wide_as_it_is_measured():
    with blank_sheet(200.0, 20.0) as sheet:
        sheet.text(10.0, 12.0, TEXT, STYLE)
        dark = (sheet.pixels(200) < 128).any(axis=(0, 2)).nonzero()[0] / 200 * 25.4
    assert dark.min() == pytest.approx(10.0, abs=0.5)
    assert dark.max() == pytest.approx(10.0 + text_width_mm(TEXT, STYLE), abs=1.6)  # kerning


def test_boxes_pictures_and_outlines_lie_where_they_are_put():
    checks = np.zeros((2, 2, 3), np.uint8)
    checks[0, 1] = checks[1, 0] = 255
    ring = np.array([[60.0, 5.0], [90.0, 5.0], [90.0, 35.0], [60.0, 35.0], [60.0, 5.0]])
    with blank_sheet(100.0, 40.0) as sheet:
        sheet.box(5.0, 10.0, 10.0, 20.0, "#ff0000")
        sheet.picture(20.0, 10.0, 30.0, 20.0, checks)
        sheet.inner_outline([ring], Stroke("#0000ff", 6.0))  # 2.1 mm, all of it inside
        pixels = sheet.pixels(254)

    def colour(x_mm: float, y_mm: float) -> tuple[int, ...]:
        return tuple(int(v) for v in pixels[round(10 * y_mm), round(10 * x_mm)])

    red, blue, white, black = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
    assert [colour(x, 20.0) for x in (4.5, 5.5, 14.5, 15.5)] == [white, red, red, white]
    assert [colour(10.0, y) for y in (9.5, 10.5, 29.5, 30.5)] == [white, red, red, white]
    assert [colour(*p) for p in ((22.0, 12.0), (48.0, 12.0), (22.0, 28.0), (48.0, 28.0))] == [
        black,
        white,
        white,
        black,
    ]
    assert [colour(x, 20.0) for x in (59.5, 60.5, 61.7, 62.8, 75.0)] == [white, blue, blue, white, white]
