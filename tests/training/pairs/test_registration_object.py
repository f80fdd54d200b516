"""A Spatial Registration object is taken when it says one clear rigid movement, and refused with the reason if not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.training.pairs.hospital_files import registration, turned
from training.errors import RegistrationUnusable
from training.pairs.linking import known_movement
from training.pairs.pair import LinkKind
from training.pairs.registration_object import read_registration

MOVEMENT = turned((4, -3, 6), (25.0, -18.0, 30.0))


def the_matrix(dataset: Dataset) -> Dataset:
    return dataset.RegistrationSequence[0].MatrixRegistrationSequence[0].MatrixSequence[0]


def test_an_item_that_names_images_only_speaks_of_their_frame() -> None:
    dataset = registration("2.25.6", [("", MOVEMENT)], images=["2.25.81"])
    link = read_registration(dataset, {"2.25.81": "2.25.5"}).link("2.25.5", "2.25.6")
    assert link is not None
    assert link.matrix == pytest.approx(MOVEMENT.matrix, abs=1e-9)


def test_images_that_are_not_here_and_frames_it_does_not_speak_of_give_no_link() -> None:
    dataset = registration("2.25.6", [("", MOVEMENT)], images=["2.25.81"])
    assert read_registration(dataset, {}).link("2.25.5", "2.25.6") is None


def _scaled(dataset: Dataset) -> None:
    the_matrix(dataset).FrameOfReferenceTransformationMatrix = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]


def _mirrored(dataset: Dataset) -> None:
    the_matrix(dataset).FrameOfReferenceTransformationMatrix = [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def _short(dataset: Dataset) -> None:
    the_matrix(dataset).FrameOfReferenceTransformationMatrix = list(np.eye(3).ravel())


def _doubled(dataset: Dataset) -> None:
    part = dataset.RegistrationSequence[0].MatrixRegistrationSequence[0]
    part.MatrixSequence.append(part.MatrixSequence[0])


def _contradicted(dataset: Dataset) -> None:
    other = registration("2.25.6", [("2.25.5", MOVEMENT.inverse)])
    dataset.RegistrationSequence.append(other.RegistrationSequence[0])


def _without_frame(dataset: Dataset) -> None:
    dataset.FrameOfReferenceUID = ""


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_scaled, "not rigid"),
        (_mirrored, "not rigid"),
        (_short, "9 numbers"),
        (_doubled, "2 matrices"),
        (_contradicted, "two different"),
        (_without_frame, "of its own"),
    ],
)
def test_what_is_not_rigid_and_clear_is_refused(spoil: Callable[[Dataset], None], reason: str) -> None:
    dataset = registration("2.25.6", [("2.25.5", MOVEMENT)])
    spoil(dataset)
    with pytest.raises(RegistrationUnusable, match=reason):
        read_registration(dataset, {})


def test_frames_that_are_not_named_are_no_link() -> None:
    said = read_registration(registration("2.25.6", [("2.25.5", MOVEMENT)]), {})
    assert known_movement("", "", ()).kind is LinkKind.REGISTERED
    assert known_movement("", "2.25.6", [(Path("a"), said)]).kind is LinkKind.REGISTERED
    assert known_movement("2.25.5", "", [(Path("a"), said)]).kind is LinkKind.REGISTERED
    known = known_movement("2.25.5", "2.25.6", [(Path("a"), said), (Path("b"), said)])
    assert (known.kind, known.registration, len(known.others)) == (LinkKind.REGISTRATION_OBJECT, Path("a"), 1)
