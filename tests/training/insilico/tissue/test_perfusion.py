"""Healthy perfusion looks as published; it is a function of flow and bed, and is normalised."""

import numpy as np
import pytest

from inference.anatomy import Lobe, Side, lobes_of
from tests.insilico_lungs import healthy, perfused
from tests.insilico_trees import coarse_body
from training.insilico.arteries.arteries import grow_arteries
from training.insilico.draws import Draws
from training.insilico.people.body import make_body
from training.insilico.people.person import draw_person
from training.insilico.tissue.lung_tissue import LungTissue, tissue_fraction
from training.insilico.tissue.lung_voxels import LungVoxels
from training.insilico.tissue.perfusion import bed_conductance, true_perfusion
from training.insilico.tissue.unseen import (
    SPREAD,
    STRUCTURE_SHARE,
    structural_heterogeneity,
    unseen_heterogeneity,
)

PEOPLE = 6


@pytest.fixture(scope="module")
def people() -> list[tuple[float, float, float, float]]:
    """Of some healthy people: slope of perfusion and of perfusion per tissue down the lung in % per cm, share of the
    right lung, lower lobes against the others."""
    found = []
    for number in range(PEOPLE):
        draws = Draws(f"healthy {number}")
        body = make_body(draw_person(draws), 8.0)
        lungs = perfused((), body=body, tree=grow_arteries(body, draws, territories=200), draws=draws)
        inside = body.lobes > 0
        perfusion, tissue = lungs.perfusion[inside], tissue_fraction(body.hu[inside])
        down_cm = np.nonzero(inside)[1] * body.grid.spacing_mm[1] / 10.0
        per_tissue = perfusion / tissue
        right = np.isin(body.lobes[inside], lobes_of(Side.RIGHT))
        lower = np.isin(body.lobes[inside], (Lobe.RLL, Lobe.LLL))
        found.append(
            (
                100.0 * float(np.polyfit(down_cm, perfusion, 1)[0]),
                100.0 * float(np.polyfit(down_cm, per_tissue / per_tissue.mean(), 1)[0]),
                100.0 * float(perfusion[right].sum() / perfusion.sum()),
                float(perfusion[lower].mean() / perfusion[~lower].mean()),
            )
        )
    return found


def test_perfusion_rises_to_the_back_as_published_and_hardly_per_tissue(
    people: list[tuple[float, float, float, float]],
) -> None:
    slope, per_tissue, _, _ = np.mean(people, axis=0)
    assert slope == pytest.approx(2.6, abs=1.0)  # PMC4294417; six people on a coarse grid
    assert abs(per_tissue) < 0.8


def test_right_lung_and_lower_lobes_get_their_share(people: list[tuple[float, float, float, float]]) -> None:
    _, _, right, lower = np.mean(people, axis=0)
    assert right == pytest.approx(52.5, abs=2.1)
    assert 1.03 < lower < 1.2


def test_the_bed_of_even_tissue_varies_unseen_peaks_at_mid_height_and_is_wider_below() -> None:
    body = coarse_body()
    even = LungTissue(
        body.grid, body.lobes, np.full(body.hu.shape, -700.0, np.float32), np.ones(body.hu.shape, np.float32)
    )
    inside = body.lobes == Lobe.RLL
    logs = np.log([bed_conductance(even, Draws(f"bed {n}"))[inside] for n in range(16)])
    assert 0.1 < logs.std(axis=1).mean() < 0.35
    centre = np.ptp(np.nonzero(body.lobes)[1]) / 2 + np.nonzero(body.lobes)[1].min()
    below_cm = (np.nonzero(inside)[1] - centre) * body.grid.spacing_mm[1] / 10.0
    curve, slope, _ = np.polyfit(below_cm, logs.mean(axis=0), 2)
    assert 0.2 < 100.0 * slope < 1.3
    assert curve < 0.0


def test_most_of_the_heterogeneity_is_structure_and_the_rest_unseen() -> None:
    body = coarse_body()
    voxels = LungVoxels.of(body.grid, body.lobes)
    variances = np.array(
        [
            [
                np.log(factor(voxels, Draws(f"bed {n}"))).var()
                for factor in (structural_heterogeneity, unseen_heterogeneity)
            ]
            for n in range(16)
        ]
    ).mean(axis=0)
    assert variances[0] / variances.sum() == pytest.approx(STRUCTURE_SHARE, abs=0.1)
    assert SPREAD[0] ** 2 < variances.sum() < SPREAD[1] ** 2


def test_the_bed_that_shows_lacks_what_is_unseen_and_nothing_else() -> None:
    body, draws = coarse_body(), Draws("bed that shows")
    tissue = LungTissue.healthy(body)
    voxels = LungVoxels.of(body.grid, body.lobes)
    whole, shown = (bed_conductance(tissue, draws, unseen=unseen).reshape(-1)[voxels.flat] for unseen in (True, False))
    lung = shown > 0
    np.testing.assert_allclose(
        (whole / np.maximum(shown, 1e-9))[lung], unseen_heterogeneity(voxels, draws.of("bed"))[lung], rtol=1e-4
    )


def test_mean_is_one_over_the_lungs_and_nothing_is_outside() -> None:
    inside = coarse_body().lobes > 0
    assert healthy().mean(inside) == pytest.approx(1.0, abs=1e-5)
    assert not healthy().perfusion[~inside].any()
    assert (healthy().perfusion[inside] > 0.0).all()


def test_perfusion_is_no_function_of_the_ct() -> None:
    inside = coarse_body().lobes > 0
    explained = np.corrcoef(coarse_body().hu[inside], healthy().perfusion[inside])[0, 1] ** 2
    assert explained < 0.6


def test_a_territory_shares_its_flow_by_bed() -> None:
    lobes = np.array([[[1, 1, 1, 2, 0]]], dtype=np.uint8)
    territories = np.array([[[0, 0, 1, 1, -1]]], dtype=np.int32)
    bed = np.array([[[1.0, 3.0, 2.0, 2.0, 9.0]]], dtype=np.float32)
    found = true_perfusion(bed, territories, np.array([0.8, 0.2]), lobes)
    np.testing.assert_allclose(found, [[[0.8, 2.4, 0.4, 0.4, 0.0]]], rtol=1e-6)


def test_no_blood_is_said_and_not_divided_by() -> None:
    lobes = np.array([[[1, 1]]], dtype=np.uint8)
    territories = np.array([[[0, 0]]], dtype=np.int32)
    with pytest.raises(ValueError, match="no blood"):
        true_perfusion(np.zeros((1, 1, 2), np.float32), territories, np.array([1.0]), lobes)


def test_fissures_do_not_glow() -> None:
    body = coarse_body()
    tissue = LungTissue.healthy(body)
    bright = tissue.hu.copy()
    seam = np.zeros(body.lobes.shape, dtype=bool)
    other = (body.lobes[1:] != body.lobes[:-1]) & (body.lobes[1:] > 0) & (body.lobes[:-1] > 0)
    seam[1:] |= other
    bright[seam] = -100.0
    drawn = LungTissue(tissue.grid, tissue.lobes, bright, tissue.capillaries)
    plain, glowing = (bed_conductance(t, Draws("same")) for t in (tissue, drawn))
    assert seam.sum() > 50
    assert glowing[seam].mean() < 1.25 * plain[seam].mean()


def test_equal_draws_give_equal_beds() -> None:
    tissue = LungTissue.healthy(coarse_body())
    np.testing.assert_array_equal(bed_conductance(tissue, Draws("a")), bed_conductance(tissue, Draws("a")))
    assert not np.array_equal(bed_conductance(tissue, Draws("a")), bed_conductance(tissue, Draws("b")))
