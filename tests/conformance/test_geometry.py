"""Wherever a patient lies in a scanner, our objects lie on the patient: read by independent readers, within 0.1 mm.

The whole way is tested: CT files → our reader → our encoders → files → dcmqi, plastimatch, SimpleITK.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.objects.mr_twin import encode_mr_twin
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation
from dicom_node.objects.structure_set import encode_structure_set
from inference.ct.headers import AXIS_TOLERANCE_DEG
from inference.ct.series import read_ct_series
from inference.errors import UnsupportedOrientation
from tests.conformance.phantoms import Direction, NumberedPhantom, Scan, read_phantom
from tests.conformance.readers import (
    PlacedVolume,
    dcmqi_map,
    dcmqi_segments,
    plastimatch_contours,
    plastimatch_image,
    plastimatch_masks,
    simpleitk_series,
)

WITHIN_MM = 0.1
LEFT, RIGHT, BACK, FRONT = (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)


def turned(axis: str, degrees: float) -> Scan:
    """A head-first supine scan whose image axes are turned about a patient axis."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = np.cos(np.deg2rad(degrees))
    turn[second, first] = np.sin(np.deg2rad(degrees))
    turn[first, second] = -turn[second, first]

    def direction(of: Direction) -> Direction:
        x, y, z = turn @ of
        return float(x), float(y), float(z)

    return Scan("HFS", direction(LEFT), direction(BACK))


SCANS = {
    "HFS": Scan("HFS", LEFT, BACK),
    "HFP": Scan("HFP", RIGHT, FRONT),
    "FFS": Scan("FFS", RIGHT, BACK),
    "FFP": Scan("FFP", LEFT, FRONT),
    "HFDR": Scan("HFDR", BACK, RIGHT),
    "HFDL": Scan("HFDL", FRONT, LEFT),
    "FFDR": Scan("FFDR", FRONT, RIGHT),
    "FFDL": Scan("FFDL", BACK, LEFT),
    "sagittally mirrored": Scan("HFS", RIGHT, BACK),
    "coronally mirrored": Scan("HFS", LEFT, FRONT),
    "mirrored both ways": Scan("HFS", RIGHT, FRONT),
    "sent from head to feet": Scan("HFS", LEFT, BACK, descending=True),
    "feet first, sent from feet to head": Scan("FFS", RIGHT, BACK, descending=True),
    "off centre": Scan("HFS", LEFT, BACK, centre_mm=(137.37, -288.91, 1912.406)),
    "square pixels": Scan("HFS", LEFT, BACK, spacing_mm=(2.0, 0.9765625, 0.9765625)),
    "flat pixels": Scan("HFS", LEFT, BACK, spacing_mm=(2.0, 3.3, 0.7)),
    "0.7 mm slices": Scan("HFS", LEFT, BACK, spacing_mm=(0.7, 0.8, 0.9)),
    "8 mm slices": Scan("HFS", LEFT, BACK, spacing_mm=(8.0, 1.1, 2.7)),
    "uneven by rounding": Scan("HFS", LEFT, BACK, spacing_mm=(1.25, 1.9, 1.6), uneven_mm=0.02),
    "odd counts": Scan("FFS", RIGHT, BACK, shape=(17, 31, 45)),
    "more rows than columns": Scan("HFS", LEFT, BACK, shape=(19, 46, 33)),
    **{f"turned about {axis}": turned(axis, AXIS_TOLERANCE_DEG - 0.1) for axis in "xyz"},
}


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A scan with its objects as files."""

    phantom: NumberedPhantom
    ct: Path
    parametric_map: Path
    structure_set: Path
    segmentations: tuple[Path, Path]
    mr_twin: Path


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Delivery]:
    """Makes the objects of a scan, once."""
    made: dict[str, Delivery] = {}

    def deliver(name: str) -> Delivery:
        if name not in made:
            made[name] = _deliver(SCANS[name], tmp_path_factory.mktemp("scan"))
        return made[name]

    return deliver


def _deliver(scan: Scan, folder: Path) -> Delivery:
    (folder / "ct").mkdir()
    (folder / "twin").mkdir()
    phantom = read_phantom(scan.write(folder / "ct"))
    result, context = phantom.result, phantom.context
    objects = {
        "map": encode_parametric_map(result.perfusion, context),
        "structures": encode_structure_set(result.lobes, result.regions, context),
        "lobes": encode_segmentation(result.lobes, result.regions, context, LOBES),
        "function": encode_segmentation(result.lobes, result.regions, context, FUNCTION),
    }
    objects |= {f"twin/{n:02}": image for n, image in enumerate(encode_mr_twin(result.perfusion, context))}
    for name, dataset in objects.items():
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    paths = [folder / f"{name}.dcm" for name in ("map", "structures")]
    segmentations = (folder / "lobes.dcm", folder / "function.dcm")
    return Delivery(phantom, folder / "ct", *paths, segmentations, folder / "twin")


@pytest.fixture(params=SCANS)
def delivery(request: pytest.FixtureRequest, deliveries: Callable[[str], Delivery]) -> Delivery:
    """Each scan in turn."""
    return deliveries(request.param)


def test_the_scan_is_where_its_headers_say(delivery: Delivery, tmp_path: Path) -> None:
    # The phantom itself: SimpleITK finds each numbered voxel where the tests expect it. It evens slices out by itself.
    seen = simpleitk_series(delivery.ct, tmp_path).at(delivery.phantom.positions_mm, within_mm=WITHIN_MM / 2)
    assert np.array_equal(seen, np.arange(len(seen)))


def test_dcmqi_puts_every_value_of_the_map_in_its_place(delivery: Delivery, tmp_path: Path) -> None:
    seen = dcmqi_map(delivery.parametric_map, tmp_path / "map")
    assert seen.values.dtype == np.float32
    assert np.array_equal(seen.at(delivery.phantom.positions_mm, within_mm=WITHIN_MM), delivery.phantom.percent)


def test_dcmqi_puts_every_segment_in_its_place(delivery: Delivery, tmp_path: Path) -> None:
    phantom = delivery.phantom
    segments = {}
    for path in delivery.segmentations:
        segments |= dcmqi_segments(path, tmp_path / path.stem)
    assert set(segments) == set(phantom.masks) - {"Lungs", "Lung_L", "Lung_R"}
    for name, segment in segments.items():
        assert np.array_equal(segment.at(phantom.positions_mm, within_mm=WITHIN_MM), phantom.masks[name]), name


def test_plastimatch_fills_every_region_in_its_place(delivery: Delivery, tmp_path: Path) -> None:
    phantom = delivery.phantom
    masks = plastimatch_masks(delivery.structure_set, delivery.ct, tmp_path / "masks")
    assert set(masks) == set(phantom.masks)
    for name, mask in masks.items():
        assert dice(mask.at(phantom.positions_mm, within_mm=WITHIN_MM), phantom.masks[name]) >= 0.995, name


def test_contours_enclose_their_region_to_a_tenth_of_a_millimetre(delivery: Delivery, tmp_path: Path) -> None:
    contours = plastimatch_contours(delivery.structure_set, delivery.ct, tmp_path / "contours")
    assert set(contours) == set(delivery.phantom.masks)
    for name, polygons in contours.items():
        assert misplacement_mm(polygons, delivery.phantom, name) <= WITHIN_MM, name


@pytest.mark.parametrize("read", [simpleitk_series, plastimatch_image], ids=["SimpleITK", "plastimatch"])
def test_readers_of_mr_put_every_value_of_the_twin_in_its_place(
    delivery: Delivery, tmp_path: Path, read: Callable[[Path, Path], PlacedVolume]
) -> None:
    seen = read(delivery.mr_twin, tmp_path / "image").at(delivery.phantom.positions_mm, within_mm=WITHIN_MM)
    assert np.array_equal(seen, np.rint(10 * delivery.phantom.percent.astype(np.float64)))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_scan_beyond_the_oblique_limit_is_refused_with_its_code(tmp_path: Path, axis: str) -> None:
    paths = turned(axis, AXIS_TOLERANCE_DEG + 0.1).write(tmp_path)
    with pytest.raises(UnsupportedOrientation) as refusal:
        read_ct_series([dcmread(path) for path in paths])
    assert refusal.value.code == "UNSUPPORTED_ORIENTATION"


def test_a_map_in_the_order_of_the_library_would_be_noticed(
    deliveries: Callable[[str], Delivery], tmp_path: Path
) -> None:
    # Frames in descending order are a conformant object, and 3D Slicer turns it upside down.
    delivery = deliveries("HFS")
    dataset = dcmread(delivery.parametric_map)
    pixels = np.frombuffer(dataset.FloatPixelData, dtype="<f4").reshape(-1, dataset.Rows, dataset.Columns)
    dataset.FloatPixelData = pixels[::-1].tobytes()
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[::-1]
    dataset.save_as(tmp_path / "descending.dcm", enforce_file_format=True)
    seen = dcmqi_map(tmp_path / "descending.dcm", tmp_path / "map")
    assert not np.array_equal(seen.at(delivery.phantom.positions_mm), delivery.phantom.percent)


def test_contours_that_lie_beside_their_region_would_be_noticed(
    deliveries: Callable[[str], Delivery], tmp_path: Path
) -> None:
    delivery = deliveries("FFP")
    dataset = dcmread(delivery.structure_set)
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) + np.array([0.0, 0.15, 0.0])
        contour.ContourData = [f"{value:.3f}" for value in points.ravel()]
    dataset.save_as(tmp_path / "shifted.dcm", enforce_file_format=True)
    contours = plastimatch_contours(tmp_path / "shifted.dcm", delivery.ct, tmp_path / "contours")
    assert misplacement_mm(contours["Lungs"], delivery.phantom, "Lungs") == pytest.approx(0.15, abs=0.01)


def dice(seen: np.ndarray, expected: np.ndarray) -> float:
    """Dice coefficient of two masks."""
    return 2.0 * np.count_nonzero(seen & expected) / (np.count_nonzero(seen) + np.count_nonzero(expected))


def misplacement_mm(polygons: list[np.ndarray], phantom: NumberedPhantom, name: str) -> float:
    """Greatest difference, along any patient axis, of the box around a region and of its centre."""
    half_pixel_mm = np.abs(phantom.pixel_mm).sum(axis=0) / 2  # from the centre of a voxel to the side of its box
    centres_mm, points_mm = phantom.positions_mm[phantom.masks[name]], np.concatenate(polygons)
    differences_mm = (
        points_mm.min(axis=0) - (centres_mm.min(axis=0) - half_pixel_mm),
        points_mm.max(axis=0) - (centres_mm.max(axis=0) + half_pixel_mm),
        centroid_mm(polygons) - centres_mm.mean(axis=0),
    )
    return float(np.abs(differences_mm).max())


def centroid_mm(polygons: Iterable[np.ndarray]) -> np.ndarray:
    """Centre of the area of planar polygons, keyholes left out of it: the sum of triangles from one corner of each."""
    area, moment = 0.0, np.zeros(3)
    for polygon in polygons:
        first, one, next_one = polygon[0], polygon[1:-1], polygon[2:]
        normals = np.cross(one - first, next_one - first)
        whole = normals.sum(axis=0)
        areas = normals @ (whole / np.linalg.norm(whole))
        area += areas.sum()
        moment += areas @ (first + one + next_one) / 3
    return moment / area
