"""What the standard patient does without: each addition draws what it says, and a patient with it has another name."""

from typing import Any

import numpy as np
import pytest

from inference.phantom.anatomy import CORTICAL_BONE_HU, SPONGY_BONE_HU
from inference.phantom.arms import ArmPosition, Arms, arm_hu
from inference.phantom.breasts import Breasts
from inference.phantom.build import ThoraxBuild
from inference.phantom.canvas import Canvas
from inference.phantom.couch import Couch, CouchShape
from inference.phantom.deformation import Deformation, Wave
from inference.phantom.great_vessels import AORTA, PULMONARY_ARTERIES, inside
from inference.phantom.skeleton import bone, marrow
from inference.phantom.thorax import draw_thorax
from tests.conftest import COARSE

SMALL = COARSE.with_spacing((16.0, 8.0, 8.0))
ADDITIONS: dict[str, Any] = {
    "deformation": Deformation((Wave((0.0, 0.0, 6.0), (0.02, 0.0, 0.01), 1.0),)),
    "is_tapered": True,
    "has_great_vessels": True,
    "arms": Arms(ArmPosition.DOWN),
    "breasts": Breasts(30.0),
    "couch": Couch(CouchShape.CURVED, sunk_mm=5.0),
    "base_gravity": 0.5,
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_addition_changes_the_picture_and_the_name_of_the_patient(name: str) -> None:
    plain = draw_thorax(SMALL, build=ThoraxBuild(noise_hu=0.0))
    other = draw_thorax(SMALL, build=ThoraxBuild(noise_hu=0.0, **{name: ADDITIONS[name]}))
    assert (plain.ct.hu != other.ct.hu).mean() > 1e-3
    assert plain.ct.source.series_instance_uid != other.ct.source.series_instance_uid


def test_the_spine_of_a_detailed_patient_has_a_canal_and_its_bones_have_marrow() -> None:
    build = ThoraxBuild(is_tapered=True)
    canal = np.array([0.0]), np.array([96.0]), np.array([0.0])
    lamina = np.array([10.5]), np.array([96.0]), np.array([0.0])
    assert not bone(build, *canal)[0]
    assert bone(build, *lamina)[0]
    x, y, z = np.meshgrid(np.arange(-150.0, 0.0, 1.0), np.arange(0.0, 3.0, 1.0), np.arange(-40.0, 0.0, 1.0))
    bones = bone(build, x, y, z)
    share = (marrow(build, x, y, z) & bones).sum() / bones.sum()
    assert 0.2 < share < 0.7
    drawn = draw_thorax(SMALL, build=ThoraxBuild(is_tapered=True, noise_hu=0.0)).ct.hu
    assert {SPONGY_BONE_HU, CORTICAL_BONE_HU} <= set(np.unique(drawn))


def test_an_arm_is_bone_in_muscle_in_fat() -> None:
    assert arm_hu(np.array([0.05, 0.4, 0.75, 0.95])).tolist() == [-95.0, 42.0, 620.0, -60.0]


def test_positions_are_found_in_tubes_as_one_by_one() -> None:
    tubes = (*AORTA, *PULMONARY_ARTERIES)
    x, y, z = SMALL.coordinates_mm()
    one_by_one = np.maximum.reduce([tube.depth_mm(x, y, z) for tube in tubes]) > -2.0
    assert one_by_one.any()
    assert np.array_equal(inside(tubes, x, y, z, margin_mm=2.0), one_by_one)


def test_half_the_precision_draws_the_same_patient() -> None:
    build = ThoraxBuild(deformation=ADDITIONS["deformation"])
    fine, coarse = (Canvas.blank(SMALL, build, kind).slices() for kind in (np.float64, np.float32))
    for a, b in zip(fine, coarse, strict=True):
        assert b.z.dtype == np.float32
        assert np.abs(a.z - b.z).max() < 1e-3
