"""OHIF in a real browser, in front of a real archive: what a physician sees of our objects, pixel by pixel."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.rois import Roi, function_rois, lobe_rois, lung_rois
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation
from dicom_node.objects.structure_set import encode_structure_set
from inference.geometry import Grid
from tests.dicom_node.objects.conftest import Chest, make_chest
from tests.peers import program
from tests.viewers.archive import dicomweb_archive
from tests.viewers.node import node, run_node
from tests.viewers.pictures import NEAR_PIXELS, Picture, edges_of, grey, tinted
from tests.viewers.volume import ViewerVolume

POSITIONS = ("HFS", "FFS")
"""A browser run each; the readers inside OHIF are tested in every position without one."""
HEIGHTS_MM = (-6.0, 10.0)
"""Slices to look at, over the middle of the chest: lower and middle lobes in one, upper lobes in the other."""
CONTOUR_GROUPS = (
    ("Lungs",),
    ("Lung_L", "Lung_R"),
    ("Lung_RUL", "Lung_LUL"),
    ("Lung_RML", "Lung_LLL"),
    ("Lung_RLL",),
    ("Lungs^HighPerf",),
    ("Lungs^LowPerf",),
)
"""What to show at a time: contours that run along each other hide each other."""
SEGMENTS = {
    LOBES: ("Lung_RUL", "Lung_RML", "Lung_RLL", "Lung_LUL", "Lung_LLL"),
    FUNCTION: ("Lungs^HighPerf", "Lungs^LowPerf"),
}
NOT_OVERLAID = 0.98
"""Share of the pixels round the lungs that OHIF's scroll bar leaves free, at least."""


@dataclass(frozen=True)
class View:
    """A picture, the slice it shows, and the regions shown on it."""

    picture: Picture
    k: int
    shown: list[str]


class Sight:
    """Everything OHIF showed of one chest."""

    def __init__(self, folder: Path, chest: Chest) -> None:
        self.chest = chest
        self.seen: dict[str, Any] = json.loads((folder / "views.json").read_text())
        self.map_values = np.fromfile(folder / "map.float32", dtype="<f4")
        self._folder = folder

    def views(self, of: str) -> list[View]:
        """Pictures of the CT, an object, or the map."""
        assert self.seen[of]["views"]
        uids = [str(dataset.SOPInstanceUID) for dataset in self.chest.datasets]
        return [
            View(Picture(self._folder / view["file"], view["places"]), uids.index(view["image"]), view["shown"])
            for view in self.seen[of]["views"]
        ]

    def legend(self, of: str) -> list[tuple[str, tuple[int, ...]]]:
        """Names and colours that OHIF lists."""
        return [(segment["label"], tuple(segment["colour"][:3])) for segment in self.seen[of]["segments"]]


@pytest.fixture(scope="module", params=POSITIONS)
def sight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sight:
    node()
    browser = program("chromium")
    chest = make_chest(request.param)
    folder = tmp_path_factory.mktemp("ohif")
    with dicomweb_archive(folder, [*chest.datasets, *objects_of(chest)]) as archive:
        plan = {**plan_for(chest), "archive": archive, "browser": browser}
        (folder / "plan.json").write_text(json.dumps(plan))
        run_node("ohif.mjs", folder / "plan.json", folder, timeout_s=300.0)
    return Sight(folder, chest)


def objects_of(chest: Chest) -> list[Any]:
    return [
        encode_parametric_map(chest.perfusion, chest.context),
        encode_structure_set(chest.lobes, chest.regions, chest.context),
        *(encode_segmentation(chest.lobes, chest.regions, chest.context, role) for role in SEGMENTS),
    ]


def plan_for(chest: Chest) -> dict[str, Any]:
    middle_mm = chest.grid.to_patient_mm((np.array(chest.grid.shape) - 1) / 2)
    wanted_mm = middle_mm + np.array([[0.0, 0.0, height_mm] for height_mm in HEIGHTS_MM])
    slices = [int(k) for k in np.rint(chest.grid.to_index(wanted_mm)[:, 0])]
    uids = [str(dataset.SOPInstanceUID) for dataset in chest.datasets]
    return {
        "study": str(chest.reference.study_instance_uid),
        "images": [uids[k] for k in slices],
        "points": {uid: corner_of(chest.grid, k) for k, uid in enumerate(uids)},
        "structureSet": looks(structure_rois(chest), CONTOUR_GROUPS, slices, uids),
        "segmentations": {
            role.part: looks(segment_rois(chest), [names], slices, uids) for role, names in SEGMENTS.items()
        },
    }


def corner_of(grid: Grid, k: int) -> list[list[float]]:
    """The first voxel of a slice, the one a row on and the one a column on."""
    index = np.array([[k, 0, 0], [k, 1, 0], [k, 0, 1]], dtype=float)
    points: list[list[float]] = grid.to_patient_mm(index).tolist()
    return points


def looks(
    rois: dict[str, Roi], groups: Iterable[Sequence[str]], slices: Sequence[int], uids: Sequence[str]
) -> list[dict[str, Any]]:
    """Which regions to show in which slices: those that have a voxel there."""
    present = [(k, [name for name in group if rois[name].mask[k].any()]) for k in slices for group in groups]
    return [{"image": uids[k], "shown": names} for k, names in present if names]


def structure_rois(chest: Chest) -> dict[str, Roi]:
    return {roi.name: roi for roi in (*lung_rois(chest.lobes), *segment_rois(chest).values())}


def segment_rois(chest: Chest) -> dict[str, Roi]:
    return {roi.name: roi for roi in (*lobe_rois(chest.lobes), *function_rois(chest.regions, chest.context))}


def test_the_ct_lies_where_the_points_say(sight: Sight) -> None:
    for view in sight.views("ct"):
        lung = sight.chest.lobes.lungs[view.k]
        assert grey(view.picture.at(np.argwhere(lung))).all()
        assert view.picture.at(np.argwhere(lung)).max() < 60
        around = ndimage.binary_dilation(lung, iterations=4) & ~lung
        assert (view.picture.at(np.argwhere(around)) > 190).mean() > NOT_OVERLAID


def test_names_and_colours_are_those_of_the_tables(sight: Sight) -> None:
    expected = [(roi.name, roi.colour) for roi in structure_rois(sight.chest).values()]
    assert sight.legend("structureSet") == expected
    assert [*sight.legend(LOBES.part), *sight.legend(FUNCTION.part)] == expected[3:]


def test_every_contour_runs_along_the_edge_of_its_region_and_nowhere_outside(sight: Sight) -> None:
    rois = structure_rois(sight.chest)
    looked_at = set()
    for view in sight.views("structureSet"):
        for name in view.shown:
            mask = rois[name].mask[view.k]
            drawn = tinted(view.picture.pixels, rois[name].colour)
            assert view.picture.near(edges_of(mask), drawn).all(), name
            others = [rois[other].mask[view.k] for other in view.shown]
            allowed = ndimage.binary_dilation(view.picture.mask(np.any(others, axis=0)), iterations=NEAR_PIXELS + 1)
            chest_only = view.picture.mask(ndimage.binary_dilation(sight.chest.lobes.lungs[view.k]))
            assert not (drawn & chest_only & ~allowed).any(), name
            looked_at.add(name)
    assert looked_at == set(rois)


def test_every_segment_fills_its_voxels_in_its_colour_and_no_others(sight: Sight) -> None:
    rois = segment_rois(sight.chest)
    looked_at = set()
    for view in (view for role in SEGMENTS for view in sight.views(role.part)):
        for name in view.shown:
            filled = view.picture.at(np.argwhere(rois[name].mask[view.k]))
            assert tinted(filled, rois[name].colour, likeness=0.995).all(), name
            looked_at.add(name)
        covered = np.any([rois[name].mask[view.k] for name in view.shown], axis=0)
        around = ndimage.binary_dilation(covered, iterations=4) & ~covered
        assert grey(view.picture.at(np.argwhere(around))).mean() > NOT_OVERLAID
    assert looked_at == set(rois)


def test_the_map_is_held_at_its_place_a_hundred_times_too_large(sight: Sight) -> None:
    grid = sight.chest.grid
    percent = sight.chest.perfusion.values * np.float32(100.0)
    held = ViewerVolume(sight.seen["map"]["volume"]).on_grid(sight.map_values, grid)
    assert np.array_equal(held, (percent.astype(np.float64) * 100.0).astype(np.float32))


def test_the_map_covers_the_lungs_in_colour(sight: Sight) -> None:
    (view,) = sight.views("map")
    lung = sight.chest.lobes.lungs[view.k]
    assert tinted(view.picture.at(np.argwhere(lung)), (112, 0, 0)).all()
    # OHIF interpolates, and any mixture with the hundredfold values takes the colour of the highest.
    around = ndimage.binary_dilation(lung, iterations=4) & ~ndimage.binary_dilation(lung, np.ones((3, 3)))
    assert grey(view.picture.at(np.argwhere(around))).mean() > NOT_OVERLAID
