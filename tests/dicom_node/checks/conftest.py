"""Every kind of object of one small chest, as files, and ways to plant a fault in one of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom.config
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.checks.check import check_result
from dicom_node.checks.faults import Fault
from dicom_node.objects.kinds import ObjectKind
from dicom_node.objects.mr_twin import encode_mr_twin
from dicom_node.objects.page import encode_summary_image, encode_summary_pdf
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.report import encode_report
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation
from dicom_node.objects.structure_set import encode_structure_set
from inference.engine import PerfusionResult
from inference.lobar import lobar_perfusion
from tests.dicom_node.objects.conftest import Chest, make_chest

PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n"
Mutation = Callable[[Dataset], None]
SEVERAL = (ObjectKind.MR_TWIN, ObjectKind.SEGMENTATION)


def result_of(chest: Chest) -> PerfusionResult:
    """The result whose parts the chest holds."""
    lobar = lobar_perfusion(chest.perfusion, chest.lobes, chest.regions)
    return PerfusionResult(chest.reference, chest.lobes, chest.perfusion, chest.regions, lobar, ())


def encoded(dataset: Dataset) -> bytes:
    """The object as a file; wrong values are written as they are."""
    buffer = BytesIO()
    with pydicom.config.disable_value_validation():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def parsed(content: bytes) -> Dataset:
    """The object of a file, elements raw."""
    return dcmread(BytesIO(content))


@dataclass(frozen=True)
class ChestFiles:
    """A chest with its CT and all its objects as files."""

    chest: Chest
    result: PerfusionResult
    ct: list[bytes]
    objects: dict[str, bytes]
    """By file name: the kind, with a number where there are several: images of the twin, lobes and function."""

    @classmethod
    def of(cls, chest: Chest, kinds: Sequence[ObjectKind] = tuple(ObjectKind)) -> "ChestFiles":
        context, result = chest.context, result_of(chest)
        ct = [encoded(dataset) for dataset in chest.datasets]
        made = {
            ObjectKind.PARAMETRIC_MAP: lambda: [encode_parametric_map(chest.perfusion, context)],
            ObjectKind.STRUCTURE_SET: lambda: [encode_structure_set(chest.lobes, chest.regions, context)],
            ObjectKind.MR_TWIN: lambda: encode_mr_twin(chest.perfusion, context),
            ObjectKind.SEGMENTATION: lambda: [
                encode_segmentation(chest.lobes, chest.regions, context, role) for role in (LOBES, FUNCTION)
            ],
            ObjectKind.SUMMARY_PDF: lambda: [encode_summary_pdf(PDF, context)],
            ObjectKind.SUMMARY_IMAGE: lambda: [encode_summary_image(np.full((5, 7, 3), 9, np.uint8), context)],
        }
        objects = {}
        for kind in kinds:
            for number, dataset in enumerate(made[kind]() if kind in made else (), start=1):
                name = f"{kind}.{number}.dcm" if kind in SEVERAL else f"{kind}.dcm"
                objects[name] = encoded(dataset)
        if ObjectKind.REPORT in kinds:
            seg, pm = (parsed(objects[name]) for name in ("segmentation.1.dcm", "parametric-map.dcm"))
            objects[f"{ObjectKind.REPORT}.dcm"] = encoded(encode_report(result, context, seg, pm))
        return cls(chest, result, ct, objects)

    def headers(self) -> list[Dataset]:
        """Headers of the CT as they are read from files."""
        return [dcmread(BytesIO(content), stop_before_pixels=True) for content in self.ct]

    def of_kind(self, *kinds: ObjectKind) -> dict[str, bytes]:
        """The files of some kinds."""
        return {name: content for name, content in self.objects.items() if name.split(".")[0] in kinds}


def write(files: dict[str, bytes], folder: Path) -> list[Path]:
    """Put files into a folder."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def codes_of(faults: Sequence[Fault]) -> set[str]:
    return {fault.code for fault in faults}


@pytest.fixture(scope="session")
def files() -> ChestFiles:
    """All objects of the head-first supine chest; not to be changed."""
    return ChestFiles.of(make_chest())


Planted = Callable[..., tuple[Fault, ...]]


@pytest.fixture
def planted(files: ChestFiles, tmp_path: Path) -> Planted:
    """Change one object of a kind and check it, with the other objects of `beside` as they are."""

    def check(kind: ObjectKind, mutation: Mutation, beside: Sequence[ObjectKind] = ()) -> tuple[Fault, ...]:
        changed = files.of_kind(kind)
        name = next(iter(changed))
        dataset = parsed(changed[name])
        with pydicom.config.disable_value_validation():
            mutation(dataset)
        changed[name] = encoded(dataset)
        return check_result(write(changed | files.of_kind(*beside), tmp_path), files.headers(), files.result)

    return check
