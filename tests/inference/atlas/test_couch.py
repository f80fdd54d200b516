"""On which side the couch lies, with a body and a couch made of boxes."""

import numpy as np
import pytest

from inference.atlas.couch import couch_side
from inference.geometry import Grid

GRID = Grid.axial((40, 70, 80), (4.0, 4.0, 4.0), (-158.0, -138.0, 0.0), frame_of_reference_uid="1.2.3")
BODY = np.zeros(GRID.shape, dtype=bool)
BODY[:, 15:50, 10:70] = True


def lying(*couches: tuple[slice, float]) -> np.ndarray:
    """A body in air with slabs of some HU across rows."""
    hu = np.full(GRID.shape, -1000.0, dtype=np.float32)
    hu[BODY] = 40.0
    for rows, value in couches:
        hu[:, rows, 5:75] = value
    return hu


@pytest.mark.parametrize(("rows", "side"), [(slice(56, 58), "back"), (slice(8, 10), "front")])
def test_a_couch_is_found_on_the_side_where_it_lies(rows: slice, side: str) -> None:
    assert couch_side(lying((rows, -700.0)), BODY, GRID) == side


def test_foam_is_no_air() -> None:
    assert couch_side(lying((slice(53, 58), -840.0)), BODY, GRID) == "back"
    assert couch_side(lying((slice(53, 58), -860.0)), BODY, GRID) is None


def test_a_blanket_in_front_does_not_turn_the_patient_round() -> None:
    assert couch_side(lying((slice(54, 58), -700.0), (slice(9, 10), -700.0)), BODY, GRID) == "back"


def test_as_much_on_both_sides_says_nothing() -> None:
    assert couch_side(lying((slice(54, 56), -700.0), (slice(9, 11), -700.0)), BODY, GRID) is None


def test_the_skin_is_no_couch() -> None:
    hu = lying()
    hu[:, 50, 10:70] = -500.0
    assert couch_side(hu, BODY, GRID) is None
    assert couch_side(hu, np.zeros_like(BODY), GRID) is None


def test_the_answer_does_not_depend_on_the_spacing() -> None:
    hu, body = lying((slice(56, 58), -700.0)), BODY
    fine = Grid.axial((40, 140, 160), (4.0, 2.0, 2.0), (-159.0, -139.0, 0.0), frame_of_reference_uid="1.2.3")
    finer = [np.repeat(np.repeat(values, 2, axis=1), 2, axis=2) for values in (hu, body)]
    assert couch_side(*finer, fine) == "back"
