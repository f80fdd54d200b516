"""Lungs get the volumes and lobes the shares that were asked for, whatever the build looks like."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.phantom.anatomy import lobe_labels
from inference.phantom.build import ThoraxBuild
from inference.phantom.deformation import Deformation, Wave
from training.insilico.people.chest_fit import LungSizes, fitted

SIZES = LungSizes(1700.0, 1450.0, lower_of_right=0.52, middle_of_upper_right=0.31, lower_of_left=0.47)
WIDE = -200.0, 100.0
"""Any height of the diaphragm is plausible."""
BENT = ThoraxBuild(
    width=0.95,
    depth=0.93,
    height=1.02,
    bend_mm=6.0,
    deformation=Deformation(
        (Wave((3.0, 0.0, 4.0), (0.0, 0.02, 0.01), 1.0), Wave((0.0, 4.0, 0.0), (0.02, 0.0, 0.0), 2.0))
    ),
)


def lobes_ml(build: ThoraxBuild) -> np.ndarray:
    grid = build.field_of_view((3.0, 6.0, 6.0))
    labels = lobe_labels(build, *build.to_reference(*grid.coordinates_mm()))
    return np.bincount(labels.ravel(), minlength=6)[1:] * grid.voxel_volume_ml


@pytest.mark.parametrize("build", [ThoraxBuild(), BENT], ids=["standard", "bent"])
def test_lungs_and_lobes_have_the_sizes_asked_for(build: ThoraxBuild) -> None:
    fit = fitted(build, SIZES, domes_mm=WIDE)
    volumes = lobes_ml(fit.build)
    right, left = volumes[:3].sum(), volumes[3:].sum()
    assert (right, left) == pytest.approx((1700.0, 1450.0), rel=0.02)
    assert volumes[Lobe.RLL - 1] / right == pytest.approx(0.52, abs=0.01)
    assert volumes[Lobe.RML - 1] / volumes[:2].sum() == pytest.approx(0.31, abs=0.015)
    assert volumes[Lobe.LLL - 1] / left == pytest.approx(0.47, abs=0.01)
    assert (fit.build.width, fit.build.deformation) == (build.width, build.deformation)


def test_the_sample_of_the_lungs_lies_where_they_are() -> None:
    fit = fitted(ThoraxBuild(), SIZES, domes_mm=WIDE)
    grid = fit.build.field_of_view((5.0, 5.0, 5.0))
    inside = np.argwhere(lobe_labels(fit.build, *grid.coordinates_mm()) > 0).astype(float)
    assert [float(p.mean()) for p in fit.places] == pytest.approx(grid.to_patient_mm(inside).mean(axis=0), abs=1.0)


@pytest.mark.parametrize(("litres", "grows"), [(1.0, False), (5.5, True)])
def test_a_chest_that_does_not_suit_the_lungs_becomes_narrower_or_wider(litres: float, grows: bool) -> None:
    sizes = LungSizes(540.0 * litres, 460.0 * litres, 0.5, 0.34, 0.5)
    fit = fitted(ThoraxBuild(), sizes, domes_mm=(-40.0, -20.0))
    assert (fit.build.width > 1.05) == grows
    assert (fit.build.width < 0.95) != grows
    assert fit.build.width == pytest.approx(fit.build.depth)
