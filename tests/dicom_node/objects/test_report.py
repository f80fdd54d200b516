import json
import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import EncodingError
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.provenance import EarlierInstance
from dicom_node.objects.report import ROLE, encode_report
from dicom_node.objects.segmentation import LOBES, encode_segmentation
from inference.anatomy import Lobe, Side
from inference.engine import PerfusionResult
from inference.lobar import lobar_perfusion
from inference.model_card import ModelIdentity
from inference.quality.checks import Finding, Severity
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap
from tests.peers import program
from tests.tools import error_lines, tool

REPOSITORY = Path(__file__).parents[3]
FINDINGS = (
    Finding(
        "LUNG_VOLUME", Severity.FLAG, "Both lungs together have 155 ml. Expected at least 1500.", 155.24, 1500.0, "ml"
    ),
    Finding("LUNG_DENSITY", Severity.NOTE, "The mean CT number in the lungs is -800 HU.", -800.0, -900.0, "[hnsf'U]"),
    Finding("MAP_PEAK", Severity.FLAG, "The map reaches 2.13 times the lung mean.", 2.1345678, 2.0, "1"),
)
QUANTITIES = {  # field of a row by code of its measurement
    "118565006": "volume_ml",
    "110831": "mean_perfusion",
    "PERFSHARE": "perfusion_fraction",
    "HIGHSHARE": "high_fraction",
    "LOWSHARE": "low_fraction",
}


def result_of(chest, findings=()):
    lobar = lobar_perfusion(chest.perfusion, chest.lobes, chest.regions)
    return PerfusionResult(chest.reference, chest.lobes, chest.perfusion, chest.regions, lobar, findings)


def objects_of(chest, findings=(), **context):
    """Report, segmentation and map."""
    shared = replace(chest.context, findings=findings, **context)
    segmentation = encode_segmentation(chest.lobes, chest.regions, shared, LOBES)
    parametric_map = encode_parametric_map(chest.perfusion, shared)
    return encode_report(result_of(chest, findings), shared, segmentation, parametric_map), segmentation, parametric_map


def saved(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


def read_by_dcmqi(path, folder):
    command = [tool("tid1500reader"), "--inputDICOM", path, "--outputMetadata", folder / "sr.json"]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((folder / "sr.json").read_text())


def figures(group):
    return {
        QUANTITIES[item["quantity"]["CodeValue"]]: (float(item["value"]), item["units"]["CodeValue"])
        for item in group["measurementItems"]
    }


def evaluations(dataset):
    """What is said of the result as a whole: name, text, and the properties of each text."""
    root = highdicom.sr.Comprehensive3DSR.from_dataset(dataset).content[0]
    (container,) = (item for item in root.ContentSequence if item.name.value == "C0034375")
    return [
        (item.name.meaning, item.TextValue, {p.name.value: p.value for p in item.get("ContentSequence", ())})
        for item in container.ContentSequence
    ]


def without(chest, *lobes):
    labels = chest.lobes.labels.copy()
    labels[np.isin(labels, lobes)] = 0
    lungs = labels > 0
    values = np.where(lungs, chest.perfusion.values, 0).astype(np.float32)
    return replace(
        chest,
        lobes=LobeMap(labels, chest.grid, chest.lobes.segmenter),
        perfusion=PerfusionMap(values, lungs, chest.grid, chest.perfusion.model),
        regions=FunctionRegions(chest.regions.high & lungs, chest.regions.low & lungs, chest.grid, chest.regions.rule),
    )


@pytest.mark.parametrize("findings", [(), FINDINGS])
def test_dciodvfy_finds_no_error_and_nothing_that_a_document_does_not_have(chest, tmp_path, findings):
    path = saved(objects_of(chest, findings)[0], tmp_path / "sr.dcm")
    assert error_lines(path) == []
    run = subprocess.run([tool("dciodvfy"), path], capture_output=True, text=True, check=False)
    assert run.stderr.startswith("Comprehensive3DSR") or "Comprehensive3DSR" in run.stderr.splitlines()
    assert "not present in standard DICOM IOD" not in run.stderr


def test_slicers_reader_sees_the_figures_of_every_lobe_with_its_segment(chest, tmp_path):
    report, segmentation, _ = objects_of(chest)
    read = read_by_dcmqi(saved(report, tmp_path / "sr.dcm"), tmp_path)
    groups = {group["TrackingIdentifier"]: group for group in read["Measurements"]}
    for lobe, row in result_of(chest).lobar.items():
        group, segment = groups[lobe.tg263], segmentation.SegmentSequence[lobe - 1]
        for field, (value, unit) in figures(group).items():
            assert value == pytest.approx((1 if field == "volume_ml" else 100) * getattr(row, field), rel=1e-7)
            assert unit == ("ml" if field == "volume_ml" else "%")
        assert len(figures(group)) == len(QUANTITIES)
        assert group["ReferencedSegment"] == segment.SegmentNumber == lobe
        assert group["segmentationSOPInstanceUID"] == segmentation.SOPInstanceUID
        assert group["SourceSeriesForImageSegmentation"] == chest.datasets[0].SeriesInstanceUID
        assert group["TrackingUniqueIdentifier"] == segment.TrackingUID
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert group["Finding"]["CodeValue"] == group["FindingSite"]["CodeValue"] == kind.CodeValue
        side = kind.get("SegmentedPropertyTypeModifierCodeSequence")
        assert group.get("Laterality", {}).get("CodeMeaning") == (side[0].CodeMeaning if side else None)


def test_lungs_and_sides_have_the_figures_of_their_voxels_and_no_segment(chest, tmp_path):
    read = read_by_dcmqi(saved(objects_of(chest)[0], tmp_path / "sr.dcm"), tmp_path)
    groups = {group["TrackingIdentifier"]: group for group in read["Measurements"]}
    total = chest.perfusion.values.sum(dtype=np.float64)
    parts = {
        "Lungs": ("Bilateral", chest.lobes.lungs),
        **{side.tg263: (side.name.capitalize(), chest.lobes.lung(side)) for side in Side},
    }
    assert [*groups] == [*parts, *(lobe.tg263 for lobe in Lobe)]
    for name, (laterality, mask) in parts.items():
        values = chest.perfusion.values[mask].astype(np.float64)
        seen = {field: value for field, (value, _) in figures(groups[name]).items()}
        assert seen["volume_ml"] == pytest.approx(mask.sum() * 0.02, rel=1e-7)
        assert seen["mean_perfusion"] == pytest.approx(100 * values.mean(), rel=1e-7)
        assert seen["perfusion_fraction"] == pytest.approx(100 * values.sum() / total, rel=1e-7)
        assert seen["high_fraction"] == pytest.approx(100 * chest.regions.high[mask].mean(), rel=1e-7)
        assert seen["low_fraction"] == pytest.approx(100 * chest.regions.low[mask].mean(), rel=1e-7)
        assert groups[name]["Laterality"]["CodeMeaning"] == laterality
        assert "ReferencedSegment" not in groups[name]


def test_highdicom_finds_lobes_segments_and_the_map_behind_each_figure(chest, tmp_path):
    report, segmentation, parametric_map = objects_of(chest)
    read = highdicom.sr.srread(saved(report, tmp_path / "sr.dcm"))
    groups = read.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [lobe.tg263 for lobe in Lobe]
    for number, group in enumerate(groups, start=1):
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert segment[0].referenced_segment_numbers == [number]
        volume, mean, *shares = group.get_measurements()
        assert volume.referenced_images == []
        for measurement in (mean, *shares):
            (image,) = measurement.referenced_images
            assert image.referenced_sop_instance_uid == parametric_map.SOPInstanceUID
            assert measurement.method.value == "CTNETWORK"
        assert mean.derivation.value == "373098007"


def test_numbers_fit_their_attribute(chest):
    def numbers(item):
        for child in item.get("ContentSequence", ()):
            if "MeasuredValueSequence" in child:
                yield child.MeasuredValueSequence[0]
            yield from numbers(child)

    found = list(numbers(objects_of(chest, FINDINGS)[0]))
    assert len(found) == 8 * 5 + 3 * 2
    assert all(len(str(value.NumericValue)) <= 16 for value in found)
    assert all(float(value.NumericValue) == value.FloatingPointValue for value in found)


def test_every_finding_is_said_with_severity_measured_value_and_limit(chest):
    said = [(text, properties) for name, text, properties in evaluations(objects_of(chest, FINDINGS)[0])
            if name == "Quality Finding"]  # fmt: skip
    assert [text for text, _ in said] == [f"{f.severity.upper()} {f.code}: {f.sentence}" for f in FINDINGS]
    for (_, properties), finding in zip(said, FINDINGS, strict=True):
        assert properties["246112005"].value == finding.severity.upper()
        assert properties["MEASURED"] == pytest.approx(finding.measured, rel=1e-7)
        assert properties["LIMIT"] == finding.limit


def test_nothing_to_report_is_said(chest):
    texts = [text for name, text, _ in evaluations(objects_of(chest)[0]) if name == "Quality Finding"]
    assert texts == ["Nothing to report: every check of CT and result passed."]


def test_it_says_research_caveats_and_rule_in_full(chest, tmp_path):
    long = ModelIdentity("long", "1", caveat="Lobes are approximate. " * 60 + "They do not see fissures.")
    report, *_ = objects_of(replace(chest, lobes=LobeMap(chest.lobes.labels, chest.grid, long)))
    said = {name: text for name, text, _ in evaluations(report)}
    assert said["Comment"].startswith("RESEARCH ONLY.")
    assert chest.perfusion.model.caveat in said["Comment"]
    assert long.caveat in said["Comment"]
    assert "100 % is the mean over both lungs" in said["Comment"]
    assert said["Rule for high- and low-functional lung"] == chest.regions.rule.statement()
    assert report.ContentQualification == "RESEARCH"
    assert "RESEARCH" in report.SeriesDescription
    page = subprocess.run(
        [program("dsr2html"), saved(report, tmp_path / "sr.dcm")], capture_output=True, text=True, check=False
    ).stdout  # what a reading station would show
    assert "RESEARCH ONLY. Not a medical device" in page
    assert "They do not see fissures." in page


def test_each_figure_names_its_algorithm_weights_and_settings(chest, tmp_path):
    read = read_by_dcmqi(saved(objects_of(chest)[0], tmp_path / "sr.dcm"), tmp_path)
    for group in read["Measurements"]:
        volume, *others = (item["measurementAlgorithmIdentification"] for item in group["measurementItems"])
        settings = "settings SHA-256 cd34"
        assert volume == {
            "AlgorithmName": "test-segmenter", "AlgorithmVersion": "1", "AlgorithmParameters": [settings],
        }  # fmt: skip
        for other in others:
            assert (other["AlgorithmName"], other["AlgorithmVersion"]) == ("test-perfusion", "2")
            assert other["AlgorithmParameters"] == [f"weights SHA-256 {'ab' * 32}", settings]


def test_an_engine_without_weights_is_not_called_a_network(chest):
    baseline = ModelIdentity("baseline", "1")
    perfusion = PerfusionMap(chest.perfusion.values, chest.perfusion.lungs, chest.grid, baseline)
    report, *_ = objects_of(replace(chest, perfusion=perfusion))
    (group, *_) = highdicom.sr.Comprehensive3DSR.from_dataset(report).content.get_volumetric_roi_measurement_groups()
    mean = group.get_measurements()[1]
    assert mean.method.value == "CTDENSITY"
    assert "CTNETWORK" not in str(report)
    assert "Artificial Intelligence" not in str(report)


def test_it_is_complete_preliminary_unverified_and_observed_by_this_software(chest, tmp_path):
    report, *_ = objects_of(chest)
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "COMPLETE", "PRELIMINARY", "UNVERIFIED",
    )  # fmt: skip
    observer = read_by_dcmqi(saved(report, tmp_path / "sr.dcm"), tmp_path)["observerContext"]
    assert observer["ObserverType"] == "DEVICE"
    assert observer["DeviceObserverName"] == "perfusion-node"
    other = objects_of(chest, identifiers=replace(chest.context.identifiers, source_sha256="ff"))[0]
    (tmp_path / "other").mkdir()
    seen = read_by_dcmqi(saved(other, tmp_path / "other.dcm"), tmp_path / "other")["observerContext"]
    assert seen["DeviceObserverUID"] == observer["DeviceObserverUID"]  # the same device in every report


def test_a_ct_its_results_and_the_report_belong_together(chest, tmp_path):
    report, segmentation, parametric_map = objects_of(chest, FINDINGS)
    files = [saved(dataset, tmp_path / f"{n}.dcm") for n, dataset in enumerate(chest.datasets)]
    files += [saved(d, tmp_path / f"r{n}.dcm") for n, d in enumerate((report, segmentation, parametric_map))]
    run = subprocess.run([tool("dcentvfy"), *files], capture_output=True, text=True, check=False)
    assert [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")] == []
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        instance.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert evidence == {d.SOPInstanceUID for d in (*chest.datasets, segmentation, parametric_map)}
    assert study.StudyInstanceUID == report.StudyInstanceUID == chest.datasets[0].StudyInstanceUID


def test_headers_of_segmentation_and_map_are_enough(chest, tmp_path):
    report, segmentation, parametric_map = objects_of(chest)
    headers = [
        dcmread(saved(dataset, tmp_path / f"{n}.dcm"), stop_before_pixels=True)
        for n, dataset in enumerate((segmentation, parametric_map))
    ]
    assert encode_report(result_of(chest), chest.context, *headers) == report


def test_the_superseded_report_is_named(chest, tmp_path):
    earlier = EarlierInstance("1.2.840.10008.5.1.4.1.1.88.34", "2.25.1", "2.25.2")
    report, *_ = objects_of(chest, earlier={str(ROLE): earlier})
    (study,) = report.PredecessorDocumentsSequence
    series = study.ReferencedSeriesSequence[0]
    assert study.StudyInstanceUID == chest.datasets[0].StudyInstanceUID
    assert (series.SeriesInstanceUID, series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) == ("2.25.2", "2.25.1")
    assert error_lines(saved(report, tmp_path / "sr.dcm")) == []
    assert "PredecessorDocumentsSequence" not in objects_of(chest)[0]


def test_a_lobe_without_voxels_is_left_out_and_named(chest, tmp_path):
    report, segmentation, _ = objects_of(without(chest, Lobe.RML))
    path = saved(report, tmp_path / "sr.dcm")
    groups = {group["TrackingIdentifier"]: group for group in read_by_dcmqi(path, tmp_path)["Measurements"]}
    assert "Lung_RML" not in groups
    assert groups["Lung_LLL"]["ReferencedSegment"] == 4
    assert segmentation.SegmentSequence[3].SegmentLabel == "Lung_LLL"
    said = [text for name, text, _ in evaluations(report) if name == "Quality Finding"]
    assert said == ["NOTE EMPTY_REGION: Lung_RML has no voxel, so no segment and no figures."]
    assert error_lines(path) == []


def test_a_missing_lung_has_no_figures(chest, tmp_path):
    report, *_ = objects_of(without(chest, Lobe.LUL, Lobe.LLL))
    groups = read_by_dcmqi(saved(report, tmp_path / "sr.dcm"), tmp_path)["Measurements"]
    names = [group["TrackingIdentifier"] for group in groups]
    assert names == ["Lungs", "Lung_R", "Lung_RUL", "Lung_RML", "Lung_RLL"]


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", "Müller^Jürgen"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
        (None, "Plain^Name"),
    ],
)
def test_names_of_all_scripts_are_the_bytes_of_the_ct(chest, with_headers, tmp_path, character_set, name):
    with_headers(chest, SpecificCharacterSet=character_set, PatientName=name)
    ct = dcmread(saved(chest.datasets[0], tmp_path / "ct.dcm"))
    report, *_ = objects_of(chest, FINDINGS)
    path = saved(report, tmp_path / "sr.dcm")
    written = dcmread(path)
    assert written.get_item("PatientName").value == ct.get_item("PatientName").value
    assert str(written.PatientName) == name
    assert written.get("SpecificCharacterSet") == ct.get("SpecificCharacterSet")
    assert len(highdicom.sr.srread(path).content.get_volumetric_roi_measurement_groups()) == 5
    assert len(read_by_dcmqi(path, tmp_path)["Measurements"]) == 8
    assert subprocess.run([program("dsrdump"), path], capture_output=True, check=False).returncode == 0


def test_headers_that_libraries_refuse_are_accepted(chest, with_headers, tmp_path):
    absent = dict.fromkeys(("AccessionNumber", "StudyID", "StudyTime", "PatientBirthDate", "ReferringPhysicianName"))
    with_headers(chest, PatientSex=None, SliceThickness=None, Manufacturer=None, **absent)
    report, *_ = objects_of(chest)
    assert all(keyword in report for keyword in absent)
    assert error_lines(saved(report, tmp_path / "sr.dcm")) == []


def test_what_does_not_belong_together_is_refused(chest):
    result, context = result_of(chest), chest.context
    _, segmentation, parametric_map = objects_of(chest)
    with pytest.raises(EncodingError, match="to a Segmentation Storage, not to a Parametric Map Storage"):
        encode_report(result, context, parametric_map, segmentation)
    for place in (0, 1):
        headers = [segmentation, parametric_map]
        headers[place] = deepcopy(headers[place])
        headers[place].StudyInstanceUID = "1.2.3"
        with pytest.raises(EncodingError, match="another study"):
            encode_report(result, context, *headers)
    other = ModelIdentity("x", "1")
    for wrong in (replace(context, segmenter=other), replace(context, perfusion_model=other)):
        with pytest.raises(EncodingError, match="other models"):
            encode_report(result, wrong, segmentation, parametric_map)
    partial = without(chest, Lobe.RML)
    other_segmentation = encode_segmentation(partial.lobes, partial.regions, context, LOBES)
    with pytest.raises(EncodingError, match="no segment Lung_RML"):
        encode_report(result, context, other_segmentation, parametric_map)


PRINT_DIGEST = """
import hashlib, importlib.util, io, sys
spec = importlib.util.spec_from_file_location("chest", sys.argv[1])
chest_module = importlib.util.module_from_spec(spec); sys.modules["chest"] = chest_module
spec.loader.exec_module(chest_module)
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.report import encode_report
from dicom_node.objects.segmentation import LOBES, encode_segmentation
from inference.engine import PerfusionResult
from inference.lobar import lobar_perfusion
from inference.quality.checks import Finding, Severity
chest = chest_module.make_chest()
lobes, perfusion, regions, context = chest.lobes, chest.perfusion, chest.regions, chest.context
findings = (Finding("X", Severity.FLAG, "Look.", 1.5, 1.0, "ml"),)
result = PerfusionResult(
    chest.reference, lobes, perfusion, regions, lobar_perfusion(perfusion, lobes, regions), findings
)
segmentation = encode_segmentation(lobes, regions, context, LOBES)
parametric_map = encode_parametric_map(perfusion, context)
buffer = io.BytesIO()
encode_report(result, context, segmentation, parametric_map).save_as(buffer, enforce_file_format=True)
print(hashlib.sha256(buffer.getvalue()).hexdigest())
"""


def test_two_processes_write_the_same_bytes():
    def digest(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", PRINT_DIGEST, str(Path(__file__).with_name("conftest.py"))]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert digest("1") == digest("2") != ""
