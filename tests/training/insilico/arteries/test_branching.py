"""What lies below and above an artery, and what it is called."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from tests.insilico_trees import grown, tree_of
from training.insilico.arteries.branching import (
    children,
    distance_mm,
    downstream,
    ends_below,
    ends_supplied,
    generation,
    length_mm,
    lobar_artery,
    segments_near,
    strahler_order,
    upstream,
)

#       0
#     1    2
#   3  4  5  6
#  7 8
PARENTS = [-1, 0, 0, 1, 1, 2, 2, 3, 3]


def test_what_lies_below_is_the_segment_and_all_it_leads_to() -> None:
    tree = tree_of(PARENTS)
    assert list(np.flatnonzero(downstream(tree, 1))) == [1, 3, 4, 7, 8]
    assert list(np.flatnonzero(downstream(tree, 4))) == [4]
    assert downstream(tree, 0).all()


def test_ends_below_are_territories_and_are_counted() -> None:
    tree = tree_of(PARENTS)
    assert list(ends_below(tree, 2)) == [1, 2]
    assert list(ends_below(tree, 3)) == [3, 4]
    assert list(ends_supplied(tree)) == [5, 3, 2, 2, 1, 1, 1, 1, 1]


def test_generations_count_divisions_from_the_trunk() -> None:
    assert list(generation(tree_of(PARENTS))) == [0, 1, 1, 2, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("parents", "orders"),
    [
        (PARENTS, [3, 2, 2, 2, 1, 1, 1, 1, 1]),
        ([-1, 0, 0, 0], [2, 1, 1, 1]),
        ([-1, 0, 0, 1, 1], [2, 2, 1, 1, 1]),
        ([-1, 0, 1], [1, 1, 1]),
    ],
)
def test_strahler_order_rises_where_two_of_the_highest_meet(parents: list[int], orders: list[int]) -> None:
    assert list(strahler_order(tree_of(parents))) == orders


def test_way_upstream_ends_at_the_trunk() -> None:
    assert upstream(tree_of(PARENTS), 8) == (8, 3, 1, 0)
    assert children(tree_of(PARENTS), 1) == (3, 4)


def test_distance_is_that_of_the_segment_and_not_of_its_line() -> None:
    tree = tree_of([-1], length_mm=10.0, radius_mm=2.0)
    assert distance_mm(tree, np.array([5.0, 3.0, 4.0]))[0] == pytest.approx(5.0)
    assert distance_mm(tree, np.array([13.0, 4.0, 0.0]))[0] == pytest.approx(5.0)
    assert segments_near(tree, np.array([5.0, 5.0, 0.0]), 3.1)[0]
    assert not segments_near(tree, np.array([5.0, 5.0, 0.0]), 2.9)[0]
    assert length_mm(tree)[0] == pytest.approx(10.0)


def test_all_ends_of_a_lobe_hang_on_its_artery_and_no_others() -> None:
    tree = grown()
    for lobe in Lobe:
        below = ends_below(tree, lobar_artery(tree, lobe))
        np.testing.assert_array_equal(below, np.sort(tree.end[(tree.lobe == lobe) & (tree.end >= 0)]))


def test_a_lobe_without_artery_is_an_error() -> None:
    with pytest.raises(ValueError, match="RML"):
        lobar_artery(tree_of(PARENTS, lobe=Lobe.RUL), Lobe.RML)
