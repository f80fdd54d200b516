"""What is compared of a result, with known answers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dicom_node.commissioning.figures import FIGURES, POORLY_PERFUSED, figures_of, shown_unit
from inference.anatomy import Lobe
from inference.engine import PerfusionResult
from inference.fingerprint import Fingerprint, UsualRange
from inference.phantom.thorax import DigitalThorax
from tests.dicom_node.results.test_uncertainty_files import Known, perfused

TRAINED = Fingerprint({"noise": UsualRange(2.0, 1.0, 3.0, "1")}, 1.5, 0.02, 9, "Nobody, in silico.")


@pytest.fixture(scope="module")
def result(thorax: DigitalThorax) -> PerfusionResult:
    return perfused(thorax, Known(thorax))


def test_the_figures_are_those_of_the_thorax(thorax: DigitalThorax, result: PerfusionResult) -> None:
    found = figures_of(thorax.ct, result)
    lungs = thorax.lobes.lungs
    assert set(found) == set(FIGURES)
    assert found["lung_volume"] == pytest.approx(lungs.sum() * thorax.ct.grid.voxel_volume_ml)
    assert found["lung_volume"] == pytest.approx(sum(found[f"volume_{lobe.name}"] for lobe in Lobe))
    assert found["lung_hu"] == np.median(thorax.ct.hu[lungs])
    assert sum(found[f"share_{lobe.name}"] for lobe in Lobe) == pytest.approx(100.0)
    right = sum(found[f"share_{name}"] for name in ("RUL", "RML", "RLL"))
    assert found["right_share"] == pytest.approx(right)
    poor = result.perfusion.values[lungs] < POORLY_PERFUSED
    assert found["defect_share"] == pytest.approx(100.0 * poor.mean())
    assert 0.0 < found["defect_share"] < 100.0
    assert all(math.isfinite(value) for value in found.values())


def test_the_distance_from_the_training_is_a_figure_where_it_is_known(
    thorax: DigitalThorax, result: PerfusionResult
) -> None:
    measured = TRAINED.distance({"noise": 2.5})
    known = replace(result, perfusion=replace(result.perfusion, domain=measured))
    assert figures_of(thorax.ct, known)["out_of_domain"] == measured.score
    nowhere = replace(measured, score=math.inf)
    for domain in (None, nowhere):
        unknown = replace(result, perfusion=replace(result.perfusion, domain=domain))
        assert "out_of_domain" not in figures_of(thorax.ct, unknown)


def test_units_are_shown_as_people_write_them() -> None:
    assert [shown_unit(unit) for unit in ("[hnsf'U]", "1", "ml")] == ["HU", "", "ml"]
