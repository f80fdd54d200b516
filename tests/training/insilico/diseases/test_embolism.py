"""Emboli darken what lies downstream and nothing else, and the CT does not show them."""

from collections import Counter

import numpy as np
import pytest

from inference.anatomy import Lobe
from tests.insilico_lungs import healthy, perfused
from tests.insilico_trees import coarse_body, grown
from training.insilico.arteries.branching import ends_below, lobar_artery
from training.insilico.diseases.embolism import REACHES, Embolism, Reach, draw_embolism
from training.insilico.draws import Draws
from training.insilico.tissue.lung_tissue import LungTissue


@pytest.fixture(scope="module")
def drawn() -> list[Embolism]:
    return [draw_embolism(Draws(f"embolism {n}"), grown()) for n in range(220)]


@pytest.mark.parametrize("lobe", list(Lobe))
def test_a_closed_lobar_artery_darkens_that_lobe_and_only_it(lobe: Lobe) -> None:
    plugged = Embolism(Reach.LOBE, (lobar_artery(grown(), lobe),), (0.0,))
    lungs, lobes = perfused((plugged,)), coarse_body().lobes
    assert not lungs.perfusion[lobes == lobe].any()
    others = (lobes > 0) & (lobes != lobe)
    ratio = lungs.perfusion[others] / healthy().perfusion[others]
    assert ratio.min() > 1.0
    assert lungs.mean(lobes > 0) == pytest.approx(1.0, abs=1e-5)


def test_the_ct_is_that_of_the_healthy_body(drawn: list[Embolism]) -> None:
    tissue = LungTissue.healthy(coarse_body())
    for embolism in drawn[:5]:
        assert embolism.damage(tissue).hu is tissue.hu
        assert embolism.damage(tissue).capillaries is tissue.capillaries


def test_reaches_are_as_often_as_in_the_software_patients(drawn: list[Embolism]) -> None:
    found = Counter(str(embolism.reach) for embolism in drawn)
    bourhis = {"sub-segmental": 8, "single-segment": 10, "multi-segment": 19, "lobar": 5, "multilobar": 2}
    assert bourhis == REACHES
    for reach, of_44 in bourhis.items():
        expected = of_44 / 44.0
        assert found[reach] / len(drawn) == pytest.approx(expected, abs=3.5 * np.sqrt(expected / len(drawn)))


def test_defects_are_as_large_as_their_reach_says(drawn: list[Embolism]) -> None:
    tree = grown()
    whole = int((tree.end >= 0).sum())
    share = {reach: [] for reach in Reach}
    for embolism in drawn:
        ends = set().union(*(ends_below(tree, k).tolist() for k in embolism.arteries))
        share[embolism.reach].append(len(ends) / whole)
        assert len(set(embolism.arteries)) == len(embolism.arteries)
    assert max(share[Reach.SUBSEGMENT]) < 0.08
    assert max(share[Reach.SEGMENT]) < 0.12
    assert np.mean(share[Reach.SUBSEGMENT]) < np.mean(share[Reach.SEGMENT])
    assert min(share[Reach.LOBE]) > 0.05
    assert min(share[Reach.LOBES]) > 0.2
    assert max(share[Reach.SEGMENTS]) <= 1.0


def test_a_clot_narrows_its_own_artery_only(drawn: list[Embolism]) -> None:
    embolism = next(e for e in drawn if e.reach is Reach.SEGMENTS)
    lumen = embolism.narrow(grown())
    assert set(np.flatnonzero(lumen < 1.0)) == set(embolism.arteries)
    assert embolism.record()["arteries"] == list(embolism.arteries)
