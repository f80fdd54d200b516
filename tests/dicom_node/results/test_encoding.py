import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_node.objects.kinds import ObjectKind
from dicom_node.objects.profile import Sets, StructureSetProfile
from dicom_node.results.encoding import Material, encoded_objects
from dicom_node.settings.orders import Order
from inference.engine import PerfusionResult
from inference.lobar import lobar_perfusion
from inference.volumes import CtVolume, FunctionRegions
from tests.dicom_node.objects.conftest import Chest, make_chest
from tests.peers import program

PROFILE = StructureSetProfile(sets=Sets.TWO)
ORDER = Order(
    (ObjectKind.REPORT, ObjectKind.SEGMENTATION, ObjectKind.STRUCTURE_SET, ObjectKind.PARAMETRIC_MAP), PROFILE
)


def made(chest: Chest, regions: FunctionRegions, order: Order = ORDER) -> dict[str, Dataset]:
    """Every object that the order gives, by role and number."""
    objects: dict[str, Dataset] = {}
    result = PerfusionResult(
        chest.reference,
        chest.lobes,
        chest.perfusion,
        regions,
        lobar_perfusion(chest.perfusion, chest.lobes, regions),
        (),
    )
    ct = CtVolume(np.where(chest.lobes.lungs, -800.0, 40.0).astype(np.float32), chest.grid, chest.reference)
    material = Material(ct, result, chest.context, lambda role: objects[str(role)])
    for role, number, dataset in encoded_objects(dict.fromkeys(order.roles(), PROFILE), material):
        objects[str(role) if number is None else f"{role}-{number}"] = dataset
    return objects


def without_function(chest: Chest) -> FunctionRegions:
    nowhere = np.zeros_like(chest.regions.high)
    return FunctionRegions(nowhere, nowhere.copy(), chest.grid, chest.regions.rule)


def test_objects_are_made_so_that_the_report_finds_what_it_refers_to() -> None:
    chest = make_chest()
    assert list(made(chest, chest.regions)) == [
        "parametric-map",
        "structure-set.anatomy",
        "structure-set.function",
        "segmentation.function",
        "segmentation.lobes",
        "report",
    ]


def test_an_object_of_functional_regions_only_is_not_made_where_the_rule_found_none() -> None:
    chest = make_chest()
    roles = list(made(chest, without_function(chest)))
    assert roles == ["parametric-map", "structure-set.anatomy", "segmentation.lobes", "report"]


@pytest.mark.parametrize(
    ("date", "line"), [("20261101", "Patient ID P001, CT of 2026-11-01"), ("", "Patient ID P001 Coronal")]
)
def test_the_page_names_patient_and_date_of_the_ct(tmp_path: Path, date: str, line: str) -> None:
    chest = make_chest()
    for dataset in chest.datasets:
        dataset.ContentDate = dataset.StudyDate = date
    (page,) = made(chest, chest.regions, Order((ObjectKind.SUMMARY_PDF,))).values()
    (tmp_path / "page.pdf").write_bytes(page.EncapsulatedDocument)
    command = [program("pdftotext"), "-layout", str(tmp_path / "page.pdf"), "-"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert line in " ".join(shown.split())
