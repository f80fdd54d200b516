"""Points at known places in the patient are found there, however the camera wrote its slices."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from inference.geometry import Grid
from tests.training.pairs.hospital_files import nuclear, pet, registration, save, turned
from training.errors import NuclearImageUnusable
from training.nuclear_image import NuclearImage
from training.pairs.perfusion_image import read_perfusion
from training.pairs.registration_object import read_registration
from training.pairs.rigid import Rigid

LANDMARKS_MM = np.array([[-62.3, 21.7, -40.2], [48.9, -33.1, 12.4], [5.5, 40.8, 61.3]])
BLOB_MM = 7.0


def drawn(grid: Grid, weight: float) -> np.ndarray:
    """A blob at each landmark, brighter from one to the next."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    places = grid.to_patient_mm(index.astype(float))
    values = sum(
        (1.0 + weight * k) * np.exp(-((places - point) ** 2).sum(axis=1) / (2 * BLOB_MM**2))
        for k, point in enumerate(LANDMARKS_MM)
    )
    return np.asarray(values).reshape(grid.shape)


def camera_grid(*, down: bool, angles_deg: tuple[float, float, float] = (0, 0, 0), uid: str = "2.25.5") -> Grid:
    """A grid round the landmarks, slices up or down, turned as a detector may be."""
    upright = Grid.axial((44, 46, 52), (4.6, 4.2, 3.9), (-101.0, -95.0, -98.0), frame_of_reference_uid=uid)
    affine = upright.affine.copy()
    if down:
        affine[:3, 3] += affine[:3, 0] * 43
        affine[:3, 0] *= -1
    return Grid(upright.shape, turned(angles_deg, (1.0, -2.0, 3.0)).matrix @ affine, uid)


def found_mm(image: NuclearImage, near_mm: np.ndarray = LANDMARKS_MM) -> np.ndarray:
    """Where the blobs are: the centre of the counts within 20 mm of where they should be."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in image.grid.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    places, values = image.grid.to_patient_mm(index.astype(float)), image.values.reshape(-1).astype(float)
    answers = []
    for point in near_mm:
        close = np.linalg.norm(places - point, axis=1) < 20.0
        answers.append((places[close] * values[close, None]).sum(axis=0) / values[close].sum())
    return np.array(answers)


CAMERAS = [
    pytest.param(down, angles, id=f"{'down' if down else 'up'}-{name}")
    for down in (False, True)
    for name, angles in (("straight", (0, 0, 0)), ("rotated", (9, -14, 21)), ("prone", (0, 0, 180)))
]


@pytest.mark.parametrize(("down", "angles"), CAMERAS)
def test_landmarks_of_a_spect_are_where_they_were_put(down: bool, angles, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    grid = camera_grid(down=down, angles_deg=angles)
    path = save(nuclear(drawn(grid, 0.3), grid), tmp_path / "nm.dcm")
    assert (float(dcmread(path).SpacingBetweenSlices) < 0) == down
    image = read_perfusion([path])
    assert np.abs(found_mm(image) - LANDMARKS_MM).max() < 0.1
    assert (np.diagonal(image.grid.direction[::-1]) > 0.8).all()  # patient axes, not the camera's


@pytest.mark.parametrize(("down", "angles"), [CAMERAS[1], CAMERAS[4], CAMERAS[5]])
def test_another_reader_finds_the_landmarks_in_the_same_place(down: bool, angles, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    grid = camera_grid(down=down, angles_deg=angles)
    path = save(nuclear(drawn(grid, 0.3), grid), tmp_path / "nm.dcm")
    theirs, ours = sitk.ReadImage(str(path)), read_perfusion([path])
    for point in LANDMARKS_MM:
        here = tuple(np.round(ours.grid.to_index(point)).astype(int))
        place = ours.grid.to_patient_mm(np.array(here, dtype=float))
        assert theirs[theirs.TransformPhysicalPointToIndex([float(v) for v in place])] == ours.values[here]


@pytest.mark.parametrize(("down", "angles"), [CAMERAS[0], CAMERAS[4]])
def test_landmarks_of_a_pet_are_where_they_were_put(down: bool, angles, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    grid = camera_grid(down=down, angles_deg=angles)
    files = [save(each, tmp_path / f"{k:02d}.dcm") for k, each in enumerate(pet(drawn(grid, 0.3), grid))]
    files.insert(0, files.pop(17))  # names say nothing
    image = read_perfusion(files)
    assert np.abs(found_mm(image) - LANDMARKS_MM).max() < 0.1
    assert image.values.max() == pytest.approx(drawn(grid, 0.3).max(), rel=1e-3)


def test_a_pet_with_a_missing_slice_is_refused(tmp_path: Path) -> None:
    grid = camera_grid(down=False)
    files = [save(each, tmp_path / f"{k:02d}.dcm") for k, each in enumerate(pet(np.ones(grid.shape), grid))]
    with pytest.raises(NuclearImageUnusable, match="evenly"):
        read_perfusion(files[:20] + files[21:])


def test_a_gated_pet_is_refused(tmp_path: Path) -> None:
    grid = camera_grid(down=False)
    datasets = pet(np.ones(grid.shape), grid)[:3]
    for each in datasets:
        each.SeriesType = ["GATED", "IMAGE"]
    files = [save(each, tmp_path / f"{k:02d}.dcm") for k, each in enumerate(datasets)]
    with pytest.raises(NuclearImageUnusable, match="GATED"):
        read_perfusion(files)


INTO_OWN = turned((4, -3, 6), (25.0, -18.0, 30.0))
FROM_CT = turned((-2, 5, 1), (3.0, 4.0, -5.0))


@pytest.mark.parametrize(
    ("items", "own", "expected"),
    [
        pytest.param([("2.25.5", INTO_OWN)], "2.25.6", INTO_OWN, id="into-the-frame-of-the-ct"),
        pytest.param([("2.25.6", INTO_OWN)], "2.25.5", INTO_OWN.inverse, id="into-the-frame-of-the-spect"),
        pytest.param(
            [("2.25.5", INTO_OWN), ("2.25.6", FROM_CT)], "2.25.7", FROM_CT.inverse.after(INTO_OWN), id="into-a-third"
        ),
    ],
)
@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_a_registration_object_takes_landmarks_into_the_frame_of_the_ct(
    items: list[tuple[str, Rigid]], own: str, expected: Rigid, down: bool, tmp_path: Path
) -> None:
    grid = camera_grid(down=down, angles_deg=(3, 5, -7), uid="2.25.5")
    image = read_perfusion([save(nuclear(drawn(grid, 0.3), grid), tmp_path / "nm.dcm")])
    said = read_registration(dcmread(save(registration(own, items), tmp_path / "reg.dcm")), {})
    link = said.link("2.25.5", "2.25.6")
    assert link is not None
    true_mm = LANDMARKS_MM @ expected.matrix[:3, :3].T + expected.matrix[:3, 3]
    assert np.abs(link.moved_mm(found_mm(image)) - true_mm).max() < 0.1
