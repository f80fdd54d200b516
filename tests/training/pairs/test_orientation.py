"""A SPECT that lies upside down, mirrored or back to front is told, however well it fills the lungs; others are not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from tests.training.pairs.hospital_files import nuclear, save, turned
from tests.training.pairs.moved_spect import spect_of
from training.nuclear_image import NuclearImage
from training.pairs.linking import KnownMovement, link
from training.pairs.orientation import AXES, better_reversed
from training.pairs.pair import LinkKind, ProblemCode
from training.pairs.perfusion_image import read_perfusion
from training.pairs.rigid import Rigid
from training.pairs.rigid_registration import LungPicture, lung_picture

HEAD, FRONT, LEFT = AXES
RIGHT_LOBES, LEFT_LOBES = (1, 2, 3), (4, 5)


@pytest.fixture(scope="module")
def picture(thorax: DigitalThorax) -> LungPicture:
    return lung_picture(thorax.ct, thorax.lobes.labels > 0)


@pytest.fixture(scope="module")
def elsewhere(thorax: DigitalThorax) -> NuclearImage:
    """Turned by some degrees, in a frame of its own."""
    values, grid = spect_of(thorax, turned((12, -9, -10), (-40, 22, -35)), frame_uid="2.25.77")
    return NuclearImage(values.astype(np.float32), grid)


@pytest.mark.parametrize(
    ("along", "told"),
    [((), ()), ((0,), (HEAD,)), ((1,), (FRONT,)), ((2,), (LEFT,)), ((1, 2), (FRONT, LEFT)), ((0, 2), (HEAD, LEFT))],
)
def test_the_axes_that_are_reversed_are_named(
    picture: LungPicture, elsewhere: NuclearImage, along: tuple[int, ...], told: Sequence[str]
) -> None:
    image = NuclearImage(np.ascontiguousarray(np.flip(elsewhere.values, along)), elsewhere.grid)
    assert better_reversed(picture, image) == told


def one_sided(thorax: DigitalThorax, dark: Sequence[int], movement: Rigid) -> NuclearImage:
    """No blood in some lobes. The middle of what is hot is that of one lung then, and not that of both."""
    values = np.where(np.isin(thorax.lobes.labels, dark), np.float32(0.0), thorax.perfusion.values)
    lame = replace(thorax, perfusion=replace(thorax.perfusion, values=values))
    counts, grid = spect_of(lame, movement, frame_uid="2.25.77")
    return NuclearImage(counts.astype(np.float32), grid)


DARK = pytest.mark.parametrize("dark", [RIGHT_LOBES, LEFT_LOBES], ids=["right", "left"])


@DARK
@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (12, -9, -10)])
def test_one_lung_without_blood_is_no_reason_for_an_alarm(
    picture: LungPicture, thorax: DigitalThorax, dark: Sequence[int], angles_deg: Sequence[float]
) -> None:
    assert better_reversed(picture, one_sided(thorax, dark, turned(angles_deg, (-40, 22, -35)))) == ()


@DARK
@pytest.mark.parametrize("along", [(0,), (1,), (2,), (1, 2)])
def test_one_lung_without_blood_hides_no_wrong_header(
    picture: LungPicture, thorax: DigitalThorax, dark: Sequence[int], along: tuple[int, ...]
) -> None:
    image = one_sided(thorax, dark, Rigid.identity())
    turned_round = NuclearImage(np.ascontiguousarray(np.flip(image.values, along)), image.grid)
    assert better_reversed(picture, turned_round) == tuple(AXES[axis] for axis in along)


def test_noise_is_not_said_to_be_reversed(picture: LungPicture) -> None:
    grid = picture.grid
    noise = np.random.default_rng(5).random(grid.shape, dtype=np.float32)
    assert better_reversed(picture, NuclearImage(noise, grid)) == ()


def without_sign(thorax: DigitalThorax, path: Path, frame_uid: str) -> NuclearImage:
    """Written from head to feet, as cameras do, with a Spacing Between Slices that has lost its sign."""
    values, grid = spect_of(thorax, Rigid.identity(), frame_uid=frame_uid)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (grid.shape[0] - 1)
    affine[:3, 0] *= -1
    dataset = nuclear(values[::-1], Grid(grid.shape, affine, frame_uid))
    assert dataset.SpacingBetweenSlices < 0
    dataset.SpacingBetweenSlices = abs(dataset.SpacingBetweenSlices)
    return read_perfusion([save(dataset, path)])


def test_a_lost_sign_of_the_spacing_is_seen_whatever_the_link(
    picture: LungPicture, thorax: DigitalThorax, tmp_path: Path
) -> None:
    uid = thorax.ct.grid.frame_of_reference_uid
    spect = without_sign(thorax, tmp_path / "nm.dcm", uid)
    shared = link(picture, spect, KnownMovement(LinkKind.FRAME_OF_REFERENCE, Rigid.identity()))
    assert ProblemCode.LINK_POOR in {problem.code for problem in shared.problems}
    alone = link(picture, spect, KnownMovement(LinkKind.REGISTERED, None))
    found = {problem.code: problem.sentence for problem in alone.problems}
    assert ProblemCode.MAYBE_REVERSED in found
    assert HEAD in found[ProblemCode.MAYBE_REVERSED]


def test_registration_objects_that_contradict_each_other_are_told(picture: LungPicture, thorax: DigitalThorax) -> None:
    values, grid = spect_of(thorax, Rigid.identity(), frame_uid="2.25.77")
    spect, first = NuclearImage(values.astype(np.float32), grid), turned((0, 0, 0), (1, 0, 0))

    def codes(*others: Rigid) -> set[ProblemCode]:
        known = KnownMovement(LinkKind.REGISTRATION_OBJECT, first, Path("a.dcm"), others)
        return {problem.code for problem in link(picture, spect, known).problems}

    assert codes() == codes(turned((0, 0, 0), (1, 1.5, 0))) == set()
    assert codes(first, turned((0, 0, 0), (1, 2.5, 0))) == {ProblemCode.REGISTRATIONS_DIFFER}
    assert codes(turned((0, 0, 1.5), (1, 0, 0), about_mm=picture.centre_mm)) == {ProblemCode.REGISTRATIONS_DIFFER}
