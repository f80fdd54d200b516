"""A known rigid movement is found again from the images alone, and a bad link is seen in its figures."""

import numpy as np
import pytest

from inference.phantom.thorax import DigitalThorax
from tests.training.pairs.hospital_files import turned
from tests.training.pairs.moved_spect import spect_of
from training.nuclear_image import NuclearImage
from training.pairs.linking import LEAST_COUNTS_IN_LUNGS, KnownMovement, link
from training.pairs.pair import LinkKind, ProblemCode
from training.pairs.rigid import Rigid
from training.pairs.rigid_registration import LungPicture, link_quality, lung_picture, register

KNOWN = [
    pytest.param(turned((4, -3, 6), (25, -18, 30)), id="moved-and-turned"),
    pytest.param(turned((-6, 5, -8), (-40, 22, -35)), id="the-other-way"),
]


@pytest.fixture(scope="module")
def picture(thorax: DigitalThorax) -> LungPicture:
    return lung_picture(thorax.ct, thorax.lobes.labels > 0)


def seen(thorax: DigitalThorax, movement: Rigid) -> NuclearImage:
    values, grid = spect_of(thorax, movement, frame_uid="2.25.77")
    return NuclearImage(values.astype(np.float32), grid)


@pytest.mark.parametrize("movement", KNOWN)
def test_a_known_movement_is_found_within_2_mm_and_1_degree(
    picture: LungPicture, thorax: DigitalThorax, movement: Rigid
) -> None:
    found = register(picture, seen(thorax, movement))
    left = found.after(movement.inverse)  # what remains, in the frame of the CT
    assert left.shift_mm(picture.centre_mm) < 2.0
    assert left.angle_deg < 1.0


def test_equal_images_give_equal_movements(picture: LungPicture, thorax: DigitalThorax) -> None:
    spect = seen(thorax, turned((0, 0, 3), (10, 0, 5)))
    assert register(picture, spect).matrix == pytest.approx(register(picture, spect).matrix, abs=1e-5)


def test_figures_tell_a_good_link_from_a_bad_one(picture: LungPicture, thorax: DigitalThorax) -> None:
    spect = seen(thorax, Rigid.identity())
    good = link_quality(picture, spect, Rigid.identity())
    bad = link_quality(picture, spect, turned((0, 0, 0), (0, 0, 90)))
    assert good["counts_in_lungs"] > LEAST_COUNTS_IN_LUNGS > bad["counts_in_lungs"]
    assert good["lungs_seen"] > 0.99 > bad["lungs_seen"]
    assert good["mutual_information"] > 2 * bad["mutual_information"]


def test_a_shared_frame_of_reference_does_not_hide_that_the_patient_moved(
    picture: LungPicture, thorax: DigitalThorax
) -> None:
    known = KnownMovement(LinkKind.FRAME_OF_REFERENCE, Rigid.identity())
    assert link(picture, seen(thorax, Rigid.identity()), known).problems == ()
    moved = link(picture, seen(thorax, turned((0, 0, 0), (0, 0, 90))), known)
    assert {problem.code for problem in moved.problems} == {ProblemCode.LINK_POOR}
