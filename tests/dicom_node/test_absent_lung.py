"""A patient with one lung through the whole chain: nothing is invented, nothing is empty, every reader is told."""

import io
import json
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from rich.console import Console

from dicom_node.checks.check import check_files
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.stages import Stage
from dicom_node.offline import with_order
from dicom_node.output import print_lobar_table
from dicom_node.pages.lobar_rows import lobar_rows
from dicom_node.pipeline import STAGES
from dicom_node.results.result_files import read_result
from dicom_node.settings.config import parse_settings
from inference.anatomy import Lobe, Side
from inference.ct.instances import ct_instances
from inference.errors import ImplausibleResult
from inference.phantom.thorax import ThoraxVariant, draw_thorax
from inference.quality.findings import Severity
from tests.conftest import COARSE
from tests.rt_structures import written

DENSITOMETRIC = {"inference": {"perfusion": "densitometric"}}
KINDS = ["parametric-map", "structure-set", "segmentation", "report", "summary-pdf"]
LEFT = ("Lung_L", "Lung_LUL", "Lung_LLL")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> CaseFolder:
    """A case of a thorax whose left lung is dense, processed by the default engines and passed by our checker."""
    case = CaseFolder(tmp_path_factory.mktemp("data") / "cases" / "case", tell=lambda step: None)
    settings = with_order(parse_settings(DENSITOMETRIC), KINDS, "generic")
    for number, dataset in enumerate(ct_instances(draw_thorax(COARSE, variant=ThoraxVariant.ONE_LUNG).ct)):
        written(dataset, case.received / f"{number:04d}.dcm")
    for stage in (Stage.READ, Stage.SEGMENT, Stage.PERFUSE, Stage.ENCODE, Stage.CHECK):
        STAGES[stage](case, settings)
    return case


def object_of(case: CaseFolder, name: str):
    (path,) = case.objects.glob(f"{name}*.dcm")
    return dcmread(path)


def texts(dataset: Dataset) -> list[str]:
    """Every text of a report."""
    return [str(element.value) for element in dataset.iterall() if element.keyword == "TextValue"]


def test_the_lobes_of_the_lung_that_is_there_are_found_and_the_others_flagged(case: CaseFolder) -> None:
    result = read_result(case.result)
    assert {lobe for lobe in Lobe if result.lobes.mask(lobe).any()} == {Lobe.RUL, Lobe.RML, Lobe.RLL}
    assert "LUNG_MISSING" in {f.code for f in result.findings if f.severity is Severity.FLAG}
    assert sum(row.perfusion_fraction for row in result.lobar.values()) == pytest.approx(1.0)
    assert (result.regions.high | result.regions.low)[result.lobes.lung(Side.RIGHT)].mean() > 0.9


def test_the_table_says_not_applicable_where_there_is_nothing_to_average(case: CaseFolder) -> None:
    rows = {row.tg263: row.cells for row in lobar_rows(read_result(case.result).lobar)}
    for name in LEFT:
        assert rows[name] == ("0", "n/a", "0.0", "n/a", "n/a")
    assert rows["Lung_R"][1:3] == ("100", "100.0")
    assert rows["Lungs"] == rows["Lung_R"]


def test_the_printed_table_says_so_too(case: CaseFolder) -> None:
    page = io.StringIO()
    print_lobar_table(Console(file=page, width=160), json.loads(case.result.with_suffix(".json").read_text()))
    lines = [line.split() for line in page.getvalue().splitlines() if "LUL" in line and "n/a" in line]
    assert [word for word in lines[0] if word == "n/a"] == ["n/a"] * 4
    assert "No left lung was found" in page.getvalue()


def test_no_object_has_an_empty_region(case: CaseFolder) -> None:
    structures, lobes = object_of(case, "structure-set"), object_of(case, "segmentation.lobes")
    names = {str(roi.ROIName) for roi in structures.StructureSetROISequence}
    assert names == {"Lungs", "Lung_R", "Lung_RUL", "Lung_RML", "Lung_RLL", "Lungs^HighPerf", "Lungs^LowPerf"}
    assert all(len(item.ContourSequence) > 0 for item in structures.ROIContourSequence)
    assert [str(item.SegmentLabel) for item in lobes.SegmentSequence] == ["Lung_RUL", "Lung_RML", "Lung_RLL"]
    for text in (structures.StructureSetDescription, lobes.DerivationDescription):
        assert "Empty, therefore absent: " in text
        assert "Lung_LUL, Lung_LLL" in text
        assert "No left lung was found" in text


def test_the_report_names_what_is_absent(case: CaseFolder) -> None:
    said = texts(object_of(case, "report"))
    for name in ("Lung_LUL", "Lung_LLL"):
        assert any(f"EMPTY_REGION: {name} has no voxel" in text for text in said)
        assert name not in said
    assert any(text.startswith("FLAG LUNG_MISSING: No left lung") for text in said)


def test_the_checker_has_no_fault_to_find_without_the_result(case: CaseFolder) -> None:
    report = check_files([*case.object_paths(), *case.instances()])
    assert report.faults == ()
    untried = {code for rules in report.untried for code in rules.codes}
    assert "ROI_SHAPE_DIFFERS" not in untried
    assert "REPORT_FIGURES_DIFFER" not in untried


def test_an_invented_left_lung_in_the_structure_set_is_a_fault(case: CaseFolder, tmp_path: Path) -> None:
    structures = object_of(case, "structure-set")
    for roi in structures.StructureSetROISequence:
        if roi.ROIName == "Lung_RML":
            roi.ROIName = "Lung_LUL"
    changed = tmp_path / "structure-set.dcm"
    structures.save_as(changed, enforce_file_format=True)
    others = [path for path in case.object_paths() if path.name != "structure-set.dcm"]
    codes = {fault.code for fault in check_files([changed, *others, *case.instances()]).faults}
    assert "ROI_SHAPE_DIFFERS" in codes


@pytest.mark.parametrize(
    ("stage", "quality", "code"),
    [
        (Stage.SEGMENT, {"severities": {"LUNG_MISSING": "reject"}}, "LUNG_MISSING"),
        (Stage.PERFUSE, {"limits": {"MAP_VARIATION": {"usual": [0.9, 1], "possible": [0.8, 5]}}}, "MAP_VARIATION"),
    ],
)
def test_the_site_file_decides_what_a_finding_does(case: CaseFolder, stage: Stage, quality, code: str) -> None:
    with pytest.raises(ImplausibleResult) as refused:
        STAGES[stage](case, parse_settings({**DENSITOMETRIC, "quality": quality}))
    assert set(refused.value.reasons) == {code}


def test_the_page_is_drawn(case: CaseFolder) -> None:
    assert case.summary.stat().st_size > 10_000
