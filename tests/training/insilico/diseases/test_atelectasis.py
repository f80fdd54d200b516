"""Collapsed lobes are small and airless, their neighbours fill the room; the dependent rim lies at the back."""

import numpy as np
import pytest

from inference.anatomy import Lobe, lobes_of
from tests.insilico_lungs import healthy, perfused, place_of
from tests.insilico_trees import coarse_body
from training.insilico.arteries.arteries import grow_arteries
from training.insilico.diseases.atelectasis import DependentAtelectasis, LobarCollapse
from training.insilico.draws import Draws


def collapse(lobe: Lobe) -> LobarCollapse:
    x, y, z = coarse_body().hilum_mm[0 if lobe.side == "R" else 1]
    return LobarCollapse(lobe, 0.25, (float(x), float(y), float(z)), 0.15, "collapse")


@pytest.mark.parametrize("lobe", [Lobe.RLL, Lobe.LUL])
def test_a_collapsed_lobe_shrinks_and_its_side_keeps_its_room(lobe: Lobe) -> None:
    before, after = coarse_body(), collapse(lobe).shrunk(coarse_body())
    share = (after.lobes == lobe).sum() / (before.lobes == lobe).sum()
    assert share == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(after.lobes > 0, before.lobes > 0)
    changed = after.lobes != before.lobes
    assert np.isin(after.lobes[changed], [other for other in lobes_of(lobe.side) if other is not lobe]).all()
    assert (before.lobes[changed] == lobe).all()
    hilum = np.array(collapse(lobe).hilum_mm)
    near, given = (np.linalg.norm(place_of(w) - hilum, axis=1).mean() for w in (after.lobes == lobe, changed))
    assert near < given


def test_the_collapsed_lobe_is_airless_with_little_blood_and_the_others_are_evenly_perfused() -> None:
    disease, draws = collapse(Lobe.RLL), Draws("collapse")
    body = disease.shrunk(coarse_body())
    lungs = perfused((disease,), body=body, tree=grow_arteries(body, draws, territories=300), draws=draws)
    own = body.lobes == Lobe.RLL
    assert lungs.tissue.hu[own].min() == lungs.tissue.hu[own].max() == 40.0
    assert lungs.mean(own) < 0.6
    room = (coarse_body().lobes == Lobe.RLL) & ~own
    rest = np.isin(coarse_body().lobes, (Lobe.RUL, Lobe.RML))
    assert lungs.mean(room) == pytest.approx(lungs.mean(rest), rel=0.3)
    assert (lungs.tissue.masks["atelectasis"] == own).all()


def test_a_lobe_that_is_alone_on_its_side_keeps_its_room() -> None:
    body = coarse_body()
    lobes = np.where(body.lobes == Lobe.LUL, 0, body.lobes).astype(np.uint8)
    alone = type(body)(body.grid, lobes, body.hu, body.airway, body.skin, body.hilum_mm)
    assert collapse(Lobe.LLL).shrunk(alone) is alone


def test_the_dependent_rim_lies_at_the_back_of_the_lower_lobes() -> None:
    lungs = perfused((DependentAtelectasis(16.0, 0.3, "rim"),))
    rim = lungs.tissue.masks["atelectasis"]
    assert rim.sum() > 50
    assert np.isin(lungs.tissue.lobes[rim], (Lobe.RLL, Lobe.LLL)).all()
    inside = lungs.tissue.lobes > 0
    assert place_of(rim)[:, 1].min() > np.quantile(place_of(inside)[:, 1], 0.6)
    assert lungs.tissue.hu[rim].mean() > coarse_body().hu[rim].mean() + 200.0
    assert lungs.mean(rim) < 1.1 * healthy().mean(rim)
