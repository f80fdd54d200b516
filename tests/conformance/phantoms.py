"""A phantom whose every voxel has a number of its own, scanned in any position.

The number of a voxel is its CT number, so it says where the voxel belongs whatever readers and writers do with it on
the way: turn, flip, reorder. Where it belongs comes from the files alone, by the formula of PS3.3 C.7.6.2.1.1 and none
of the code under test. Lungs and landmarks are drawn in patient coordinates, different along every patient axis: blocks
of different size in corners of the field of view, and a lung with a hole and an island in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.objects.provenance import ResultContext, result_context
from inference.anatomy import Lobe
from inference.ct.instances import ct_instances
from inference.ct.series import read_ct_series
from inference.engine import PerfusionResult
from inference.function_regions import DEFAULT_RULE
from inference.geometry import Grid
from inference.lobar import lobar_perfusion
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, FunctionRegions, LobeMap, PerfusionMap, SeriesReference

Direction = tuple[float, float, float]

SEGMENTER = ModelIdentity("phantom-lobes", "1")
MODEL = ModelIdentity("phantom-perfusion", "1")


@dataclass(frozen=True, slots=True)
class Scan:
    """How the phantom lies in the scanner and what the scanner's protocol is."""

    patient_position: str
    along_row: Direction
    """LPS direction of increasing column index."""
    along_column: Direction
    """LPS direction of increasing row index."""
    spacing_mm: tuple[float, float, float] = (3.0, 1.9, 1.6)
    """Between slices, rows, columns."""
    shape: tuple[int, int, int] = (18, 30, 44)
    centre_mm: Direction = (-3.3, 21.7, -410.25)
    descending: bool = False
    """Whether the scanner numbers slices against row x column and sends them so."""
    uneven_mm: float = 0.0
    """How far slices lie, to and fro, from an even stack along the patient's axis, as by rounding."""

    def write(self, folder: Path) -> list[Path]:
        """Scan the phantom: CT files in the order in which the scanner sends them."""
        axes = [np.cross(self.along_row, self.along_column), self.along_column, self.along_row]
        affine = np.eye(4)
        affine[:3, :3] = np.array(axes).T * np.array(self.spacing_mm)
        affine[:3, 3] = np.array(self.centre_mm) - affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        uids = tuple(f"2.25.{number}" for number in range(1000, 1000 + self.shape[0]))
        source = SeriesReference("2.25.1", "2.25.2", "2.25.3", uids)
        numbers = np.arange(np.prod(self.shape), dtype=np.float32).reshape(self.shape)
        assert numbers.max() <= 31743, "more voxels than there are CT numbers in 16 bit"
        datasets = ct_instances(CtVolume(numbers, Grid(self.shape, affine, "2.25.3"), source))
        sent = datasets[::-1] if self.descending else datasets
        paths = []
        for number, dataset in enumerate(sent, start=1):
            dataset.PatientPosition, dataset.InstanceNumber = self.patient_position, number
            x, y, z = map(float, dataset.ImagePositionPatient)
            dataset.ImagePositionPatient = [x, y, round(z + (-1) ** number * self.uneven_mm, 6)]
            paths.append(folder / f"{number:02}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
        return paths


@dataclass(frozen=True, slots=True, eq=False)
class NumberedPhantom:
    """The phantom as the node reads it from files, its result, and the truth by voxel number."""

    result: PerfusionResult
    context: ResultContext
    positions_mm: np.ndarray
    """(voxels, 3), LPS: where the files say that each voxel lies."""
    pixel_mm: np.ndarray
    """(2, 3): the sides of a pixel, along rows and along columns, as vectors in LPS."""
    masks: dict[str, np.ndarray]
    """By TG-263 name, the numbers of the voxels that belong to each region, as flags."""
    percent: np.ndarray
    """(voxels,) float32: the map in percent."""


def read_phantom(paths: Sequence[Path]) -> NumberedPhantom:
    """Read the scanned phantom through the node's own reader and draw lungs where its voxels say they are."""
    datasets = [dcmread(path) for path in paths]
    positions_mm = _positions_mm(datasets)
    labels, high = _draw(positions_mm)
    values = np.where(labels > 0, np.linspace(0.5, 1.7, len(labels)), 0.0)
    values = (values / values[labels > 0].mean()).astype(np.float32)
    ct = read_ct_series(datasets)
    numbers = ct.hu.astype(int)
    lobes = LobeMap(labels[numbers], ct.grid, SEGMENTER)
    perfusion = PerfusionMap(values[numbers], lobes.lungs, ct.grid, MODEL)
    regions = FunctionRegions(high[numbers], lobes.lungs & ~high[numbers], ct.grid, DEFAULT_RULE)
    result = PerfusionResult(ct.source, lobes, perfusion, regions, lobar_perfusion(perfusion, lobes, regions), ())
    first = datasets[0]
    rows_mm, columns_mm = np.array(first.ImageOrientationPatient, dtype=float).reshape(2, 3)
    return NumberedPhantom(
        result=result,
        context=result_context(ct, datasets, result, "settings"),
        positions_mm=positions_mm,
        pixel_mm=np.array([rows_mm * float(first.PixelSpacing[1]), columns_mm * float(first.PixelSpacing[0])]),
        masks=_masks(labels, high),
        percent=values * np.float32(100.0),
    )


def _positions_mm(datasets: Sequence[Dataset]) -> np.ndarray:
    """Position by voxel number: PS3.3 equation C.7.6.2.1-1."""
    positions_mm = np.full((sum(d.Rows * d.Columns for d in datasets), 3), np.nan)
    for dataset in datasets:
        along_row, along_column = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        row, column = np.mgrid[: dataset.Rows, : dataset.Columns][..., np.newaxis]
        plane = along_row * between_columns * column + along_column * between_rows * row
        number = dataset.pixel_array + int(dataset.RescaleIntercept)
        positions_mm[number] = np.array(dataset.ImagePositionPatient, dtype=float) + plane
    assert np.isfinite(positions_mm).all()
    return positions_mm


def _draw(positions_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lobe label and membership of the high region by voxel number."""
    low, high = positions_mm.min(axis=0), positions_mm.max(axis=0)
    x, y, z = ((positions_mm - low) / (high - low)).T  # 0 to 1 to the left, back and head of the field of view
    labels = np.zeros(len(positions_mm), dtype=np.uint8)
    lung = ((x - 0.55) / 0.33) ** 2 + ((y - 0.42) / 0.31) ** 2 + ((z - 0.52) / 0.4) ** 2 < 1
    from_hilum = np.hypot((x - 0.5) / 0.18, (y - 0.45) / 0.17)
    lung &= (from_hilum > 1) | (from_hilum < 0.5)  # a vessel through all slices, and lung inside it
    labels[lung] = np.select([z < 0.35, z < 0.62, x < 0.5], [Lobe.LLL, Lobe.RML, Lobe.RLL], Lobe.LUL)[lung]
    labels[(x < 0.16) & (y < 0.2) & (z < 0.25)] = Lobe.RUL
    labels[(x > 0.88) & (y < 0.12) & (z > 0.8)] = Lobe.LUL
    labels[(x < 0.09) & (y > 0.85) & (z > 0.7)] = Lobe.RLL
    labels[(x > 0.93) & (y > 0.9) & (z < 0.12)] = Lobe.LLL
    bands = np.sin(9 * x + 2 * y) * np.cos(7 * y - 3 * z) > 0.15  # holes and islands
    return labels, (labels > 0) & bands


def _masks(labels: np.ndarray, high: np.ndarray) -> dict[str, np.ndarray]:
    sides = {"Lung_L": labels >= Lobe.LUL, "Lung_R": (labels > 0) & (labels <= Lobe.RLL)}
    functional = {"Lungs^HighPerf": high, "Lungs^LowPerf": (labels > 0) & ~high}
    return {"Lungs": labels > 0, **sides, **{lobe.tg263: labels == lobe for lobe in Lobe}, **functional}
