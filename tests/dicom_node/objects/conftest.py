"""A small chest with answers known by construction, as CT instances and as the result that belongs to them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from dicom_node.objects.identifiers import Identifiers, uid_from
from dicom_node.objects.provenance import Equipment, ResultContext
from dicom_node.objects.source_series import SourceSeries
from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.volumes import (
    FunctionBasis,
    FunctionRegions,
    FunctionRule,
    LobeMap,
    PerfusionMap,
    SeriesReference,
)

FRAME_OF_REFERENCE_UID = uid_from("test", "frame of reference")
SHAPE = (14, 40, 56)
SPACING_MM = (4.0, 2.5, 2.0)
DIRECTIONS = {  # slice, row and column axis in LPS, of images as they are stored
    "HFS": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "FFS": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)),
    "HFP": ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    "HFS-DESCENDING": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
}
SEGMENTER = ModelIdentity("test-segmenter", "1", caveat="Lobes are split by planes, not by fissures.")
MODEL = ModelIdentity("test-perfusion", "2", weights_sha256="ab" * 32, caveat="Network trained on phantoms only.")
RULE = FunctionRule("median", FunctionBasis.PERCENTILE, 50.0, 50.0)


@dataclass(frozen=True)
class Chest:
    """A CT and its result."""

    datasets: list[Dataset]
    reference: SeriesReference
    grid: Grid
    lobes: LobeMap
    perfusion: PerfusionMap
    regions: FunctionRegions

    @property
    def context(self) -> ResultContext:
        return ResultContext(
            source=SourceSeries.of(self.datasets, self.reference),
            equipment=Equipment("0.1.0"),
            identifiers=Identifiers("ab12", "0.1.0", (MODEL.weights_sha256, SEGMENTER.label()), "cd34"),
            segmenter=self.lobes.segmenter,
            perfusion_model=self.perfusion.model,
        )


def grid_in(position: str, shape: tuple[int, int, int] = SHAPE) -> Grid:
    """A non-square, anisotropic grid of a patient position, about the same centre."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(DIRECTIONS[position], dtype=float).T * np.array(SPACING_MM)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    affine[:3, 3] = np.array([-3.3, 21.7, -410.25]) - centre
    return Grid(shape, affine, FRAME_OF_REFERENCE_UID)


def draw(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lobe labels, relative perfusion, high and low region: asymmetric along every patient axis.

    The right lung has a hole (a vessel through all slices) with an island inside; the functional regions have
    irregular edges, holes, and parts that touch at corners only.
    """
    x, y, z = (np.broadcast_to(axis, grid.shape) for axis in grid.coordinates_mm())
    x, y, z = x + 3.3, y - 21.7, z + 410.25
    right = (x + 26) ** 2 / 22**2 + y**2 / 40**2 + (z - 2) ** 2 / 27**2 < 1
    left = (x - 27) ** 2 / 19**2 + (y + 2) ** 2 / 36**2 + (z + 3) ** 2 / 24**2 < 1
    vessel = ((x + 26) ** 2 + y**2 < 10**2) & ~((x + 26) ** 2 + y**2 < 4**2)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[right & (z >= 8)] = Lobe.RUL
    labels[right & (z < 8) & (y < 0)] = Lobe.RML
    labels[right & (z < 8) & (y >= 0)] = Lobe.RLL
    labels[left & (z >= 0)] = Lobe.LUL
    labels[left & (z < 0)] = Lobe.LLL
    labels[vessel] = 0
    values = (1 + 0.01 * z + 0.004 * y + 0.006 * x + 0.25 * np.sin(x / 3.1) * np.cos(y / 4.3)) * (labels > 0)
    values = np.maximum(values, 0.05, where=labels > 0, out=values)
    values[labels > 0] /= values[labels > 0].mean()
    high = (values >= 1) & (labels > 0)
    return labels, values.astype(np.float32), high, (labels > 0) & ~high


def ct_header(grid: Grid, k: int) -> Dataset:
    """One CT image without pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uid_from("test", "instance", str(k))
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    dataset.StudyDate, dataset.StudyTime = "20261101", "090000"
    dataset.ContentDate, dataset.ContentTime = "20261101", "091500.25"
    dataset.AccessionNumber = "A1"
    dataset.Modality = "CT"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Scanner Works", "CT 1"
    dataset.ReferringPhysicianName = "Ref^Doc"
    dataset.PatientName, dataset.PatientID = "Müller^Jürgen", "P001"
    dataset.PatientBirthDate, dataset.PatientSex = "19500101", "M"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid_from("test", "study"), uid_from("test", "series")
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", 2, k + 1
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = grid.frame_of_reference_uid, ""
    dataset.ImagePositionPatient = [round(float(v), 6) for v in grid.to_patient_mm(np.array([k, 0.0, 0.0]))]
    dataset.ImageOrientationPatient = [float(v) for v in (*grid.direction[:, 2], *grid.direction[:, 1])]
    dataset.PixelSpacing = list(grid.spacing_mm[1:])
    dataset.SliceThickness = grid.spacing_mm[0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = grid.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    return dataset


def make_chest(position: str = "HFS") -> Chest:
    """The chest in a patient position; the same on every call."""
    grid = grid_in(position)
    labels, values, high, low = draw(grid)
    datasets = [ct_header(grid, k) for k in range(grid.shape[0])]
    for k, dataset in enumerate(datasets):
        dataset.PixelData = np.where(labels[k] > 0, -800, 40).astype("<i2").tobytes()
    reference = SeriesReference(
        datasets[0].StudyInstanceUID,
        datasets[0].SeriesInstanceUID,
        FRAME_OF_REFERENCE_UID,
        tuple(str(dataset.SOPInstanceUID) for dataset in datasets),
    )
    return Chest(
        datasets,
        reference,
        grid,
        LobeMap(labels, grid, SEGMENTER),
        PerfusionMap(values, labels > 0, grid, MODEL),
        FunctionRegions(high, low, grid, RULE),
    )


@pytest.fixture
def chest() -> Chest:
    return make_chest()


@pytest.fixture
def chest_in() -> Callable[[str], Chest]:
    return make_chest


@pytest.fixture
def errors_of_dciodvfy(program: Callable[[str], str], tmp_path: Path) -> Callable[[Dataset], list[str]]:
    """Write an object and return what dciodvfy calls an error; its exit status alone does not tell."""

    def validate(dataset: Dataset) -> list[str]:
        path = tmp_path / "validated.dcm"
        dataset.save_as(path, enforce_file_format=True)
        run = subprocess.run([program("dciodvfy"), "-allpffgitems", path], capture_output=True, text=True, check=False)
        assert "ParametricMap" in run.stderr or "RTStructureSet" in run.stderr
        return [line for line in run.stderr.splitlines() if line.startswith("Error")]

    return validate


@pytest.fixture
def on_grid() -> Callable[[Path, Grid], np.ndarray]:
    """Read an image with SimpleITK and look up its value at every voxel of a grid, by patient position."""

    def sample(path: Path, grid: Grid) -> np.ndarray:
        image = SimpleITK.ReadImage(str(path))
        to_mm = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        index = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3).astype(float)
        place = (grid.to_patient_mm(index) - np.array(image.GetOrigin())) @ np.linalg.inv(to_mm).T
        nearest = np.rint(place).astype(int)
        assert np.abs(place - nearest).max() < 0.02
        assert nearest.min() >= 0
        values: np.ndarray = SimpleITK.GetArrayFromImage(image)[nearest[:, 2], nearest[:, 1], nearest[:, 0]]
        return values.reshape(grid.shape)

    return sample


@pytest.fixture
def with_headers() -> Callable[..., Chest]:
    """The chest with attributes changed (or, with None, removed) in every CT header."""

    def change(chest: Chest, **attributes: object) -> Chest:
        for dataset in chest.datasets:
            for keyword, value in attributes.items():
                if value is None:
                    dataset.pop(keyword, None)
                else:
                    setattr(dataset, keyword, value)
        return chest

    return change


@pytest.fixture
def program() -> Callable[[str], str]:
    """Path of a real reader; absent, the test is skipped, and fails where CI promises to have it."""

    def find(name: str) -> str:
        beside = Path(sys.executable).parent / name
        found = str(beside) if beside.exists() else shutil.which(name)
        if found is None:
            message = f"{name} is not installed"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        return found

    return find
