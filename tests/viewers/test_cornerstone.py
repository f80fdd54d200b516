"""What cornerstone3D's adapters, the readers inside OHIF, make of our map and segmentation: every voxel, as placed."""

import json
from pathlib import Path

import numpy as np
import pytest

from dicom_node.objects.kinds import ObjectRole
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.rois import function_rois, lobe_rois
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation
from inference.geometry import Grid
from tests.dicom_node.objects.conftest import DIRECTIONS, Chest, make_chest
from tests.viewers.node import run_node
from tests.viewers.volume import ViewerVolume

POSITIONS = tuple(DIRECTIONS)


class AdapterReadings:
    """What the adapters read for one CT."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        volume = json.loads((folder / "volume.json").read_text())
        self.segments: dict[str, list[str]] = volume["segments"]
        self._volume = ViewerVolume(volume)

    def map_on(self, grid: Grid) -> np.ndarray:
        """Map value at each voxel of a grid, by patient position."""
        return self._volume.on_grid(np.fromfile(self._folder / "map.float32", dtype="<f4"), grid)

    def segment_on(self, grid: Grid, segmentation: str, name: str) -> np.ndarray:
        """Whether each voxel of a grid belongs to a segment, by patient position."""
        layers = np.fromfile(self._folder / f"{segmentation}.uint8", dtype=np.uint8).reshape(-1, *self._volume.shape)
        label = self.segments[segmentation].index(name) + 1
        return self._volume.on_grid((layers == label).any(axis=0), grid)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each patient position, with the objects and with what the adapters read; one run for all."""
    by_position = {position: tmp_path_factory.mktemp("chest") for position in POSITIONS}
    for position, folder in by_position.items():
        write_objects(make_chest(position), folder)
    run_node("adapters.mjs", *by_position.values())
    return by_position


@pytest.fixture(params=POSITIONS)
def position(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write_objects(chest: Chest, folder: Path) -> None:
    (folder / "ct").mkdir()
    for k, dataset in enumerate(chest.datasets):
        dataset.save_as(folder / "ct" / f"{k:03}.dcm", enforce_file_format=True)
    objects = {"map": encode_parametric_map(chest.perfusion, chest.context)}
    for role in (LOBES, FUNCTION):
        objects[f"segmentation-{role.part}"] = encode_segmentation(chest.lobes, chest.regions, chest.context, role)
    for name, dataset in objects.items():
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)


def test_the_map_has_every_value_at_its_place(folders: dict[str, Path], position: str) -> None:
    chest, read = make_chest(position), AdapterReadings(folders[position])
    percent = chest.perfusion.values * np.float32(100.0)
    assert np.array_equal(read.map_on(chest.grid), percent)


@pytest.mark.parametrize("role", [LOBES, FUNCTION], ids=str)
def test_every_segment_has_its_voxels_at_their_places(
    folders: dict[str, Path], position: str, role: ObjectRole
) -> None:
    chest, read = make_chest(position), AdapterReadings(folders[position])
    rois = list(lobe_rois(chest.lobes) if role == LOBES else function_rois(chest.regions, chest.context))
    name = f"segmentation-{role.part}"
    assert read.segments[name] == [roi.name for roi in rois]
    for roi in rois:
        assert np.array_equal(read.segment_on(chest.grid, name, roi.name), roi.mask), roi.name
