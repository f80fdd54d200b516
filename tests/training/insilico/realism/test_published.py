"""The table of published figures holds together, and says of each number how well it is known."""

import pytest

from training.insilico.realism.cohort_figures import PER_PATIENT
from training.insilico.realism.figure import UNITS, Figure
from training.insilico.realism.published import PUBLISHED, Group, Mark
from training.insilico.realism.report_page import SECTIONS

OF_GROUPS = {Figure.EMPHYSEMA_R2, Figure.TUMOUR_DEFECT}


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.figure.name)
def test_the_published_value_lies_in_its_own_range(row) -> None:  # type: ignore[no-untyped-def]
    assert row.low <= row.value <= row.high
    assert row.population
    assert row.source


def test_every_figure_stands_once_in_the_table_and_once_on_the_page() -> None:
    figures = [row.figure for row in PUBLISHED]
    assert sorted(figures) == sorted(Figure)
    assert sorted(figure for section in SECTIONS.values() for figure in section) == sorted(Figure)
    assert set(UNITS) == set(Figure)


def test_every_figure_can_be_measured_by_somebody() -> None:
    for row in PUBLISHED:
        of_patients = row.figure in PER_PATIENT or row.figure in OF_GROUPS
        assert of_patients is (row.group is not Group.PROTOCOLS)


def test_a_range_of_ours_says_so() -> None:
    """Where only one number was read, the note names who chose the range."""
    for row in PUBLISHED:
        symmetric = abs((row.high - row.value) - (row.value - row.low)) < 1e-6
        if (
            row.mark in (Mark.READ, Mark.INFERRED)
            and not (symmetric and not row.note)
            and row.figure is not Figure.COUNTS
        ):
            assert row.note


@pytest.mark.parametrize(
    ("figure", "mean", "sd"),
    [
        (Figure.RUL, 17.9, 2.4),
        (Figure.RML, 9.3, 1.6),
        (Figure.RLL, 26.5, 2.6),
        (Figure.LUL, 23.1, 2.1),
        (Figure.LLL, 23.2, 2.4),
        (Figure.RIGHT_VOLUME, 53.6, 1.5),
        (Figure.RIGHT_PERFUSION, 52.5, 2.1),
    ],
)
def test_read_spreads_are_mean_and_one_standard_deviation(figure: Figure, mean: float, sd: float) -> None:
    (row,) = [row for row in PUBLISHED if row.figure is figure]
    assert (row.value, row.low, row.high) == pytest.approx((mean, mean - sd, mean + sd))
    assert row.mark is Mark.READ
    assert not row.holds(mean + 1.01 * sd)
    assert row.holds(mean - 0.99 * sd)
