"""Independent readers of our objects: dcmqi (3D Slicer), plastimatch, SimpleITK. What they read, and where they put it.

Each function runs a real program on files and returns what came out, in patient coordinates. plastimatch in particular
exits with 0 when it has read nothing, so that only its output counts.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from inference.geometry import Grid
from tests.tools import tool


@dataclass(frozen=True, slots=True, eq=False)
class PlacedVolume:
    """Voxels in index order (slice, row, column) and where a reader puts them."""

    values: np.ndarray
    affine: np.ndarray
    """(slice, row, column, 1) to (x, y, z, 1) in LPS mm."""

    def at(self, points_mm: np.ndarray, *, within_mm: float = 0.1) -> np.ndarray:
        """Values of the voxels whose centres lie at `points_mm` (n, 3); 0 where the volume does not reach.

        A point inside the volume that is farther than `within_mm` from every voxel centre fails the test.
        """
        index = np.rint((points_mm - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T).astype(int)
        inside = np.all((index >= 0) & (index < self.values.shape), axis=1)
        assert inside.any(), "the volume lies elsewhere"
        found_mm = index[inside] @ self.affine[:3, :3].T + self.affine[:3, 3]
        off_mm = np.linalg.norm(found_mm - points_mm[inside], axis=1).max()
        assert off_mm <= within_mm, f"voxels lie {off_mm:.3f} mm from where they belong"
        values = np.zeros(len(points_mm), dtype=self.values.dtype)
        values[inside] = self.values[tuple(index[inside].T)]
        return values

    def on(self, grid: Grid, *, within_mm: float = 0.1) -> np.ndarray:
        """Values on the voxels of a grid, which may be turned and longer; 0 where the volume does not reach.

        A voxel farther than `within_mm` from its place fails the test.
        """
        steps = np.rint(np.linalg.inv(self.affine) @ grid.affine)
        ends = [np.array((0, n - 1)) for n in grid.shape]
        corners = np.array([*(end.ravel() for end in np.meshgrid(*ends)), np.ones(8)])
        off_mm = np.linalg.norm((self.affine @ steps - grid.affine) @ corners, axis=0).max()
        assert off_mm <= within_mm, f"voxels lie {off_mm:.3f} mm from where they belong"
        axes = np.abs(steps[:3, :3]).argmax(axis=0)
        turned = self.values.transpose(axes)
        places = [
            (steps[b, a] * np.arange(n) + steps[b, 3]).astype(int)
            for a, (b, n) in enumerate(zip(axes, grid.shape, strict=True))
        ]
        inside = [(place >= 0) & (place < length) for place, length in zip(places, turned.shape, strict=True)]
        values = np.zeros(grid.shape, dtype=self.values.dtype)
        values[np.ix_(*inside)] = turned[np.ix_(*(place[held] for place, held in zip(places, inside, strict=True)))]
        return values


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a program; its output, whatever its exit status."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, errors="replace", check=False
    )


def placed(image: SimpleITK.Image) -> PlacedVolume:
    """A SimpleITK image as a placed volume."""
    affine = np.eye(4)
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, :3], affine[:3, 3] = axes[:, ::-1], image.GetOrigin()
    return PlacedVolume(SimpleITK.GetArrayFromImage(image), affine)


def simpleitk_series(series: Path, folder: Path) -> PlacedVolume:
    """A series of single-frame images as SimpleITK's series reader stacks it; `folder` is not used."""
    (uid,) = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(series))
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(series), uid)
    return placed(SimpleITK.ReadImage(names))


def dcmqi_map(path: Path, folder: Path) -> PlacedVolume:
    """A Parametric Map as dcmqi's paramap2itkimage reads it."""
    folder.mkdir()
    done = run(tool("paramap2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd")
    assert (folder / "pmap.nrrd").exists(), done.stdout + done.stderr
    return placed(SimpleITK.ReadImage(str(folder / "pmap.nrrd")))


def dcmqi_segments(path: Path, folder: Path) -> dict[str, PlacedVolume]:
    """The segments of a Segmentation, by label, as dcmqi's segimage2itkimage reads them."""
    folder.mkdir()
    done = run(tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd")
    assert (folder / "meta.json").exists(), done.stdout + done.stderr
    segments = {}
    for group in json.loads((folder / "meta.json").read_text())["segmentAttributes"]:
        for segment in group:
            image = placed(SimpleITK.ReadImage(str(folder / f"{segment['labelID']}.nrrd")))
            segments[segment["SegmentLabel"]] = PlacedVolume(image.values == segment["labelID"], image.affine)
    return segments


def dcmqi_report(path: Path, folder: Path) -> Any:
    """A structured report as dcmqi's tid1500reader understands it."""
    folder.mkdir()
    done = run(tool("tid1500reader"), "--inputDICOM", path, "--outputMetadata", folder / "report.json")
    assert (folder / "report.json").exists(), done.stdout + done.stderr
    return json.loads((folder / "report.json").read_text())


def plastimatch_image(series: Path, folder: Path) -> PlacedVolume:
    """A series of single-frame images as plastimatch reads it."""
    folder.mkdir()
    done = run(tool("plastimatch"), "convert", "--input", series, "--output-img", folder / "image.nrrd")
    assert (folder / "image.nrrd").exists(), done.stdout + done.stderr
    return placed(SimpleITK.ReadImage(str(folder / "image.nrrd")))


def plastimatch_masks(path: Path, ct: Path, folder: Path, *options: str) -> dict[str, PlacedVolume]:
    """The ROIs of a structure set, by name, as plastimatch fills them on the grid of the CT."""
    output = ("--output-prefix", folder, "--prefix-format", "nrrd")
    done = run(tool("plastimatch"), "convert", "--input", path, "--referenced-ct", ct, *output, *options)
    files = sorted(folder.glob("*.nrrd"))
    assert files, done.stdout + done.stderr
    masks = {file.stem: placed(SimpleITK.ReadImage(str(file))) for file in files}
    return {name: PlacedVolume(mask.values > 0, mask.affine) for name, mask in masks.items()}


def plastimatch_contours(path: Path, ct: Path, folder: Path) -> dict[str, list[np.ndarray]]:
    """The contours of a structure set, by ROI name, as plastimatch reads their points: (n, 3) in LPS mm."""
    folder.mkdir()
    text = folder / "contours.cxt"
    done = run(tool("plastimatch"), "convert", "--input", path, "--referenced-ct", ct, "--output-cxt", text)
    assert text.exists(), done.stdout + done.stderr
    header, _, body = text.read_text().partition("END_OF_ROI_NAMES\n")
    names = dict(line.split("|")[::2] for line in header.partition("ROI_NAMES\n")[2].splitlines())
    contours: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}
    for line in body.splitlines():
        number, _, count, _, _, points = line.split("|")
        contours[names[number]].append(np.array(points.split("\\"), dtype=np.float64).reshape(int(count), 3))
    return contours
