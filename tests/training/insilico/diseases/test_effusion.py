"""An effusion takes lung away where fluid sinks to, on its side only, and presses what lies on it."""

import numpy as np
import pytest

from inference.anatomy import Side, lobes_of
from tests.insilico_lungs import healthy, perfused, place_of
from tests.insilico_trees import coarse_body
from training.insilico.diseases.effusion import Effusion
from training.insilico.tissue.lung_tissue import LungTissue


@pytest.mark.parametrize("side", list(Side))
def test_fluid_lies_at_the_back_of_its_side_and_is_no_lung(side: Side) -> None:
    before = coarse_body().lobes
    tissue = Effusion(side, 0.2, 12.0, 0.2, "e").damage(LungTissue.healthy(coarse_body()))
    fluid, own = tissue.masks["effusion"], np.isin(before, lobes_of(side))
    assert fluid.sum() == pytest.approx(0.2 * own.sum(), rel=0.05)
    assert own[fluid].all()
    assert not tissue.lobes[fluid].any()
    np.testing.assert_array_equal(tissue.lobes[~fluid], before[~fluid])
    assert place_of(fluid)[:, 1].mean() > place_of(own)[:, 1].mean() + 40.0
    assert place_of(fluid)[:, 1].min() > place_of(own)[:, 1].min() + 60.0
    assert np.abs(tissue.hu[fluid]).max() < 30.0


def test_lung_on_the_fluid_is_pressed_but_stays_lung_with_little_blood() -> None:
    lungs = perfused((Effusion(Side.RIGHT, 0.2, 18.0, 0.15, "e"),))
    pressed = lungs.tissue.masks["compressive-atelectasis"]
    assert (lungs.tissue.lobes[pressed] > 0).all()
    dense = pressed & (lungs.tissue.hu > -200.0)
    assert dense.sum() > 50
    assert lungs.mean(dense) < 0.8 * healthy().mean(dense)
    assert not lungs.perfusion[lungs.tissue.masks["effusion"]].any()
