"""Tumours: soft tissue in lung; the grade says how much perfusion is missing."""

import numpy as np
import pytest

from inference.anatomy import Lobe, lobes_of
from tests.insilico_lungs import Lungs, healthy, middle_of, perfused
from tests.insilico_trees import coarse_body, grown
from training.insilico.arteries.branching import ends_supplied, lobar_artery
from training.insilico.diseases.tumour import Tumour, pressed_arteries
from training.insilico.draws import Draws

RADIUS_MM = 20.0


def tumour(grade: int, lobe: Lobe = Lobe.RUL) -> Tumour:
    centre = middle_of(lobe)
    arteries = pressed_arteries(Draws("artery"), grown(), centre_mm=centre, radius_mm=RADIUS_MM, lobe=lobe, grade=grade)
    return Tumour(centre, RADIUS_MM, False, grade, arteries, 0.0 if arteries else 1.0, 6, "tumour")


def dark(lungs: Lungs) -> np.ndarray:
    """Voxels that have lost more than half of what they had, against the median of the lungs."""
    inside = lungs.tissue.lobes > 0
    ratio = np.ones(inside.shape)
    ratio[inside] = lungs.perfusion[inside] / healthy().perfusion[inside]
    return inside & (ratio < 0.5 * np.median(ratio[inside]))


@pytest.mark.parametrize("grade", [0, 1, 2, 3])
def test_it_is_a_ball_of_soft_tissue_in_lung(grade: int) -> None:
    tissue = perfused((tumour(grade),)).tissue
    mask = tissue.masks["tumour"]
    assert (coarse_body().lobes[mask] > 0).all()
    np.testing.assert_array_equal(tissue.lobes, coarse_body().lobes)
    volume = mask.sum() * tissue.grid.voxel_volume_ml
    assert volume == pytest.approx(4.19 * 8.0, rel=0.35)
    assert np.median(tissue.hu[mask]) == pytest.approx(35.0, abs=20.0)
    far = np.linalg.norm(tissue.grid.to_patient_mm(np.argwhere(mask).astype(float)) - middle_of(Lobe.RUL), axis=1)
    assert far.max() < 1.5 * RADIUS_MM


def test_grade_0_is_no_defect_and_grade_1_is_the_tumour_alone() -> None:
    assert dark(perfused((tumour(0),))).sum() == 0
    lungs = perfused((tumour(1),))
    mask = lungs.tissue.masks["tumour"]
    assert dark(lungs)[mask].mean() > 0.9
    assert dark(lungs)[~mask].sum() <= 0.5 * mask.sum()  # the partial volume of its surface


def test_grade_2_darkens_more_than_the_tumour_up_to_its_lobe() -> None:
    lungs = perfused((tumour(2),))
    mask, lobes = lungs.tissue.masks["tumour"], coarse_body().lobes
    lost = dark(lungs) & ~mask
    assert lost.sum() > 1.2 * mask.sum()
    assert (lobes[lost] == Lobe.RUL).mean() > 0.95
    assert lost.sum() <= (lobes == Lobe.RUL).sum()


@pytest.mark.parametrize("lobe", [Lobe.RLL, Lobe.LUL])
def test_grade_3_darkens_more_than_a_lobe_of_its_side_only(lobe: Lobe) -> None:
    lost, lobes = dark(perfused((tumour(3, lobe),))), coarse_body().lobes
    assert lost.sum() > 1.1 * (lobes == lobe).sum()
    assert np.isin(lobes[lost], lobes_of(lobe.side)).all()


def test_the_pressed_artery_is_of_the_tumours_lobe_and_not_a_twig() -> None:
    supplied = ends_supplied(grown())
    x, y, z = grown().end_mm[lobar_artery(grown(), Lobe.RLL)]
    centre = float(x), float(y), float(z)  # where arteries of two lobes are near
    whole = supplied[lobar_artery(grown(), Lobe.RML)]
    for n in range(30):
        radius_mm = (8.0, 14.0, 25.0)[n % 3]
        (artery,) = pressed_arteries(
            Draws(f"{n}"), grown(), centre_mm=centre, radius_mm=radius_mm, lobe=Lobe.RML, grade=2
        )
        assert grown().lobe[artery] == Lobe.RML
        assert supplied[artery] >= 0.12 * whole


def test_no_artery_is_pressed_below_grade_2() -> None:
    assert tumour(0).arteries == tumour(1).arteries == ()
    assert (tumour(1).narrow(grown()) == 1.0).all()
    assert len(tumour(2).arteries) == 1
