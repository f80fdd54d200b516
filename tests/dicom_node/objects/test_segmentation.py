import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import EncodingError
from dicom_node.objects.codes import COLOURS
from dicom_node.objects.provenance import EarlierInstance
from dicom_node.objects.rois import function_rois, lobe_rois
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation, segment_numbers
from inference.anatomy import Lobe
from inference.errors import GridMismatch
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.quality.checks import Finding, Severity
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap
from tests.tools import error_lines, tool

REPOSITORY = Path(__file__).parents[3]
POSITIONS = ["HFS", "FFS", "HFP", "HFS-DESCENDING"]
LABELS = {
    LOBES: ["Lung_RUL", "Lung_RML", "Lung_RLL", "Lung_LUL", "Lung_LLL"],
    FUNCTION: ["Lungs^HighPerf", "Lungs^LowPerf"],
}
both = pytest.mark.parametrize("role", list(LABELS), ids=str)


def encoded(chest, role=LOBES, **context):
    return encode_segmentation(chest.lobes, chest.regions, replace(chest.context, **context), role)


def saved(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


def masks(chest, role=LOBES):
    rois = lobe_rois(chest.lobes) if role == LOBES else function_rois(chest.regions, chest.context)
    return {str(roi.name): roi.mask for roi in rois}


def read_by_dcmqi(path, folder):
    """Segment attributes by label, each with the file of its voxels."""
    options = ("--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd", "-p", "s")
    subprocess.run([tool("segimage2itkimage"), *options], check=True, capture_output=True)
    groups = json.loads((folder / "s-meta.json").read_text())["segmentAttributes"]
    return {s["SegmentLabel"]: (s, folder / f"s-{s['labelID']}.nrrd") for group in groups for s in group}


def read_by_highdicom(path, grid):
    """Masks by label, turned into the slice order of the grid."""
    segmentation = highdicom.seg.segread(path)
    volume = segmentation.get_volume(rescale_fractional=False)
    first = grid.to_index(volume.map_indices_to_reference(np.zeros((1, 3)))[0])
    assert first[1:] == pytest.approx([0, 0], abs=1e-3)
    spread = np.zeros((*grid.shape, volume.array.shape[-1]), dtype=bool)
    step = 1 if volume.direction[:, 0] @ grid.direction[:, 0] > 0 else -1
    slices = round(float(first[0])) + step * np.arange(volume.array.shape[0])
    spread[slices] = volume.array.astype(bool)
    labels = [item.SegmentLabel for item in segmentation.SegmentSequence]
    return {label: spread[..., n] for n, label in enumerate(labels)}


def with_odd_matrix(chest, with_headers):
    """The chest without its last row and three columns: frames whose bits do not end at a byte."""

    def cut(array):
        return np.ascontiguousarray(array[:, :-1, :-3])

    grid = Grid((chest.grid.shape[0], 39, 53), chest.grid.affine, chest.grid.frame_of_reference_uid)
    with_headers(chest, Rows=39, Columns=53)
    return replace(
        chest,
        grid=grid,
        lobes=LobeMap(cut(chest.lobes.labels), grid, chest.lobes.segmenter),
        perfusion=PerfusionMap(cut(chest.perfusion.values), cut(chest.perfusion.lungs), grid, chest.perfusion.model),
        regions=FunctionRegions(cut(chest.regions.high), cut(chest.regions.low), grid, chest.regions.rule),
    )


def without(chest, lobe):
    labels = chest.lobes.labels.copy()
    labels[labels == lobe] = 0
    return replace(chest, lobes=LobeMap(labels, chest.grid, chest.lobes.segmenter))


@both
@pytest.mark.parametrize("position", POSITIONS)
def test_dciodvfy_finds_no_error(chest_in, tmp_path, position, role):
    assert error_lines(saved(encoded(chest_in(position), role), tmp_path / "seg.dcm")) == []


@both
@pytest.mark.parametrize("position", POSITIONS)
def test_slicers_reader_sees_exactly_our_masks_at_our_positions(chest_in, on_grid, tmp_path, position, role):
    chest = chest_in(position)
    segments = read_by_dcmqi(saved(encoded(chest, role), tmp_path / "seg.dcm"), tmp_path)
    assert list(segments) == LABELS[role]
    for label, mask in masks(chest, role).items():
        assert np.array_equal(on_grid(segments[label][1], chest.grid) > 0, mask), label


@both
@pytest.mark.parametrize("position", POSITIONS)
def test_highdicom_sees_exactly_our_masks_at_our_positions(chest_in, tmp_path, position, role):
    chest = chest_in(position)
    seen = read_by_highdicom(saved(encoded(chest, role), tmp_path / "seg.dcm"), chest.grid)
    assert list(seen) == LABELS[role]
    for label, mask in masks(chest, role).items():
        assert np.array_equal(seen[label], mask), label


def test_frames_whose_bits_do_not_end_at_a_byte_are_read_exactly(chest, with_headers, on_grid, tmp_path):
    odd = with_odd_matrix(chest, with_headers)
    dataset = encoded(odd)
    frames = sum(int(mask.any(axis=(1, 2)).sum()) for mask in masks(odd).values())
    assert dataset.NumberOfFrames == frames
    length = -(-frames * 39 * 53 // 8)
    assert length % 2 == 1
    assert len(dataset.PixelData) == length + 1  # an even number of bytes
    path = saved(dataset, tmp_path / "seg.dcm")
    by_highdicom, by_dcmqi = read_by_highdicom(path, odd.grid), read_by_dcmqi(path, tmp_path)
    for label, mask in masks(odd).items():
        assert np.array_equal(by_highdicom[label], mask), label
        assert np.array_equal(on_grid(by_dcmqi[label][1], odd.grid) > 0, mask), label


def test_frames_ascend_along_row_times_column_within_a_segment_and_refer_to_the_image_of_their_plane(chest_in):
    chest = chest_in("HFS-DESCENDING")
    images = {str(d.SOPInstanceUID): d for d in chest.datasets}
    places = []
    for frame in encoded(chest).PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert position == images[source.ReferencedSOPInstanceUID].ImagePositionPatient
        segment = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = frame.FrameContentSequence[0].DimensionIndexValues
        places.append((segment, position[2], *place))
        assert place[0] == segment
    assert places == sorted(places)
    assert len({(height, index) for _, height, _, index in places}) == 14  # one index per plane


def test_it_refers_to_every_image_of_the_ct(chest):
    referenced = encoded(chest).ReferencedSeriesSequence[0]
    uids = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
    assert referenced.SeriesInstanceUID == chest.datasets[0].SeriesInstanceUID
    assert uids == {dataset.SOPInstanceUID for dataset in chest.datasets}


def test_the_headers_of_the_ct_stay_as_they_are(chest):
    context = chest.context
    first = encode_segmentation(chest.lobes, chest.regions, context, LOBES)
    assert (context.source.representative.Rows, context.source.representative.Columns) == (40, 56)
    assert encode_segmentation(chest.lobes, chest.regions, context, LOBES) == first


@both
def test_segments_are_named_coded_coloured_and_say_who_drew_them(chest, tmp_path, role):
    dataset = encoded(chest, role)
    assert segment_numbers(dataset) == {label: number for number, label in enumerate(LABELS[role], start=1)}
    segments = read_by_dcmqi(saved(dataset, tmp_path / "seg.dcm"), tmp_path)
    for label, (seen, _) in segments.items():
        assert np.abs(np.subtract(seen["recommendedDisplayRGBValue"], COLOURS[label])).max() <= 1
        assert seen["SegmentAlgorithmType"] == "AUTOMATIC"
        assert seen["TrackingIdentifier"] == label
    coded = [seen["SegmentedPropertyTypeCodeSequence"]["CodeValue"] for seen, _ in segments.values()]
    sides = [
        seen.get("SegmentedPropertyTypeModifierCodeSequence", {}).get("CodeMeaning") for seen, _ in segments.values()
    ]
    makers = [item.SegmentationAlgorithmIdentificationSequence[0] for item in dataset.SegmentSequence]
    maker = {
        (
            m.AlgorithmName,
            m.AlgorithmVersion,
            m.AlgorithmFamilyCodeSequence[0].CodeMeaning,
            m.get("AlgorithmParameters"),
        )
        for m in makers
    }
    if role == LOBES:
        assert coded == ["45653009", "72481006", "90572001", "45653009", "90572001"]
        assert sides == ["Right", None, "Right", "Left", "Left"]
        assert maker == {("test-segmenter", "1", "Morphological Operations", None)}
    else:
        assert coded == ["371863001"] * 2
        assert sides == [None] * 2
        weights = f"weights_sha256={'ab' * 32}"
        assert maker == {("test-perfusion", "2", "Artificial Intelligence", weights)}


def test_it_says_rule_caveats_findings_and_research(chest):
    finding = Finding("X", Severity.FLAG, "The lungs touch the first slice.", 1.0, 0.0, "ml")
    made = [encoded(chest, role, findings=(finding,)) for role in LABELS]
    described = {item.SegmentLabel: item.SegmentDescription for dataset in made for item in dataset.SegmentSequence}
    for sentence in (chest.perfusion.model.caveat, chest.lobes.segmenter.caveat, finding.sentence):
        assert all(sentence in dataset.ImageComments for dataset in made)
        assert sentence in described["Lungs^HighPerf"]
    assert chest.regions.rule.statement() in described["Lungs^LowPerf"]
    assert chest.lobes.segmenter.caveat in described["Lung_RML"]
    for dataset in made:
        assert "RESEARCH" in dataset.ContentDescription
        assert len(dataset.ContentDescription) <= 64
        assert dataset.ContentQualification == "RESEARCH"
        assert "RESEARCH" in dataset.SeriesDescription
        assert dataset.BodyPartExamined == "CHEST"


def test_a_region_without_voxels_is_left_out_and_named_and_numbers_have_no_gap(chest, tmp_path):
    full, partial = encoded(chest), encoded(without(chest, Lobe.RML))
    numbers = segment_numbers(partial)
    assert list(numbers) == [label for label in LABELS[LOBES] if label != "Lung_RML"]
    assert list(numbers.values()) == [1, 2, 3, 4]
    assert "absent: Lung_RML." in partial.DerivationDescription
    assert "absent" not in full.DerivationDescription
    assert error_lines(saved(partial, tmp_path / "seg.dcm")) == []
    seen = read_by_highdicom(tmp_path / "seg.dcm", chest.grid)
    assert np.array_equal(seen["Lung_LLL"], chest.lobes.mask(Lobe.LLL))


def test_a_single_region_is_one_segment(chest, on_grid, tmp_path):
    nowhere = np.zeros_like(chest.regions.high)
    low_only = replace(chest, regions=FunctionRegions(nowhere, chest.regions.low, chest.grid, chest.regions.rule))
    path = saved(encoded(low_only, FUNCTION), tmp_path / "seg.dcm")
    assert error_lines(path) == []
    (segment,) = read_by_dcmqi(path, tmp_path).values()
    assert np.array_equal(on_grid(segment[1], chest.grid) > 0, chest.regions.low)


def test_a_region_keeps_its_tracking_uid_whatever_else_is_empty(chest):
    def tracked(dataset):
        return {item.SegmentLabel: item.TrackingUID for item in dataset.SegmentSequence}

    full, partial = tracked(encoded(chest)), tracked(encoded(without(chest, Lobe.RML)))
    assert len(set(full.values())) == 5
    assert partial == {label: uid for label, uid in full.items() if label != "Lung_RML"}


def test_no_two_segments_of_an_object_overlap_and_each_object_is_a_series_of_its_own(chest):
    """OHIF loses whole slices of segments that overlap others of the same object."""
    made = [encoded(chest, role) for role in LABELS]
    assert {dataset.SegmentsOverlap for dataset in made} == {"NO"}
    for role in LABELS:
        assert np.sum(list(masks(chest, role).values()), axis=0).max() == 1
    assert len({dataset.SeriesInstanceUID for dataset in made} | {dataset.SOPInstanceUID for dataset in made}) == 4
    assert len({dataset.SeriesDescription for dataset in made}) == 2


def test_a_ct_with_rounded_positions_is_still_one_volume(chest, tmp_path):
    for k, dataset in enumerate(chest.datasets):
        dataset.ImagePositionPatient[2] += (-1) ** k * 0.02
    dataset = encoded(chest)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == 4
    assert list(measures.PixelSpacing) == [2.5, 2]
    assert len({frame.FrameContentSequence[0].DimensionIndexValues[1] for frame in frames_of(dataset)}) == 14


def frames_of(dataset):
    return dataset.PerFrameFunctionalGroupsSequence


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)
def test_names_of_all_scripts_are_the_bytes_of_the_ct(chest, with_headers, tmp_path, character_set, name):
    with_headers(chest, SpecificCharacterSet=character_set, PatientName=name)
    ct = dcmread(saved(chest.datasets[0], tmp_path / "ct.dcm"))
    written = dcmread(saved(encoded(chest), tmp_path / "seg.dcm"))
    assert written.get_item("PatientName").value == ct.get_item("PatientName").value
    assert str(written.PatientName) == name
    assert read_by_highdicom(tmp_path / "seg.dcm", chest.grid)["Lung_RUL"].any()
    assert list(read_by_dcmqi(tmp_path / "seg.dcm", tmp_path)) == LABELS[LOBES]


def test_headers_that_libraries_refuse_are_accepted(chest, with_headers, tmp_path):
    absent = dict.fromkeys(("AccessionNumber", "StudyID", "StudyTime", "PatientBirthDate", "ReferringPhysicianName"))
    with_headers(chest, PatientSex=None, SliceThickness=None, Manufacturer=None, **absent)
    dataset = encoded(chest)
    assert all(keyword in dataset for keyword in absent)
    assert error_lines(saved(dataset, tmp_path / "seg.dcm")) == []


def test_the_superseded_segmentation_is_named(chest, tmp_path):
    earlier = EarlierInstance("1.2.840.10008.5.1.4.1.1.66.4", "2.25.1", "2.25.2")
    dataset = encoded(chest, FUNCTION, earlier={str(FUNCTION): earlier})
    assert dataset.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "2.25.1"
    assert "ReferencedInstanceSequence" not in encoded(chest, earlier={str(FUNCTION): earlier})
    assert error_lines(saved(dataset, tmp_path / "seg.dcm")) == []


def test_what_does_not_belong_together_is_refused(chest, chest_in):
    other = chest_in("FFS")
    with pytest.raises(GridMismatch):
        encode_segmentation(chest.lobes, other.regions, chest.context, LOBES)
    with pytest.raises(EncodingError, match="slice 0 lies"):
        encode_segmentation(other.lobes, other.regions, chest.context, LOBES)
    with pytest.raises(EncodingError, match="another segmenter"):
        encoded(chest, segmenter=ModelIdentity("x", "1"))
    nothing = LobeMap(np.zeros_like(chest.lobes.labels), chest.grid, chest.lobes.segmenter)
    with pytest.raises(EncodingError, match=r"Lung_RUL.*has a voxel"):
        encode_segmentation(nothing, chest.regions, chest.context, LOBES)
    nowhere = np.zeros_like(chest.regions.high)
    empty = FunctionRegions(nowhere, nowhere.copy(), chest.grid, chest.regions.rule)
    with pytest.raises(EncodingError, match=r"HighPerf.*has a voxel"):
        encode_segmentation(chest.lobes, empty, chest.context, FUNCTION)


def test_no_region_is_kept_as_a_volume_while_it_is_made(chest, with_headers):
    """Regions side by side would take a byte each per voxel of the CT, and highdicom twice that."""
    encoded(chest)  # highdicom loads its tables of the standard when it is first used
    grid = Grid((14, 400, 560), chest.grid.affine, chest.grid.frame_of_reference_uid)
    with_headers(chest, Rows=400, Columns=560)
    labels, high = (np.repeat(np.repeat(a, 10, 1), 10, 2) for a in (chest.lobes.labels, chest.regions.high))
    regions = FunctionRegions(high, (labels > 0) & ~high, grid, chest.regions.rule)
    lobes = LobeMap(labels, grid, chest.lobes.segmenter)
    tracemalloc.start()
    encode_segmentation(lobes, regions, chest.context, LOBES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4.5 * labels.size


PRINT_DIGEST = """
import hashlib, importlib.util, io, sys
spec = importlib.util.spec_from_file_location("chest", sys.argv[1])
chest_module = importlib.util.module_from_spec(spec); sys.modules["chest"] = chest_module
spec.loader.exec_module(chest_module)
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation
chest = chest_module.make_chest()
for role in (LOBES, FUNCTION):
    buffer = io.BytesIO()
    dataset = encode_segmentation(chest.lobes, chest.regions, chest.context, role)
    dataset.save_as(buffer, enforce_file_format=True)
    print(hashlib.sha256(buffer.getvalue()).hexdigest())
"""


def test_two_processes_write_the_same_bytes():
    def digest(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", PRINT_DIGEST, str(Path(__file__).with_name("conftest.py"))]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert digest("1") == digest("2") != ""
