import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import EncodingError
from dicom_node.objects.parametric_map import encode_parametric_map
from inference.model_card import ModelIdentity
from inference.quality.checks import Finding, Severity
from inference.volumes import PerfusionMap

REPOSITORY = Path(__file__).parents[3]
POSITIONS = ["HFS", "FFS", "HFP", "HFS-DESCENDING"]


@pytest.mark.parametrize("position", POSITIONS)
def test_dciodvfy_finds_no_error(chest_in, errors_of_dciodvfy, position):
    chest = chest_in(position)
    assert errors_of_dciodvfy(encode_parametric_map(chest.perfusion, chest.context)) == []


@pytest.mark.parametrize("position", POSITIONS)
def test_slicers_reader_sees_our_values_at_our_positions(chest_in, program, on_grid, tmp_path, position):
    chest = chest_in(position)
    path = tmp_path / "map.dcm"
    encode_parametric_map(chest.perfusion, chest.context).save_as(path, enforce_file_format=True)
    command = [program("paramap2itkimage"), "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    seen = on_grid(next(tmp_path.glob("*.nrrd")), chest.grid)
    assert np.array_equal(seen, chest.perfusion.values * np.float32(100))


@pytest.mark.parametrize("position", POSITIONS)
def test_highdicom_sees_our_values_at_our_positions(chest_in, tmp_path, position):
    chest = chest_in(position)
    path = tmp_path / "map.dcm"
    encode_parametric_map(chest.perfusion, chest.context).save_as(path, enforce_file_format=True)
    volume = highdicom.imread(path).get_volume()
    corner = volume.map_indices_to_reference(np.zeros((1, 3)))[0]
    ours = chest.grid.to_index(corner)
    expected = chest.perfusion.values * np.float32(100)
    seen = volume.array if ours[0] < 0.5 else volume.array[::-1]
    assert ours[1:] == pytest.approx([0, 0], abs=1e-3)
    assert np.array_equal(seen, expected)


def test_frames_ascend_along_row_times_column_and_refer_to_the_image_of_their_plane(chest_in):
    chest = chest_in("HFS-DESCENDING")
    dataset = encode_parametric_map(chest.perfusion, chest.context)
    images = {str(d.SOPInstanceUID): d for d in chest.datasets}
    frames = dataset.PerFrameFunctionalGroupsSequence
    heights = [frame.PlanePositionSequence[0].ImagePositionPatient[2] for frame in frames]
    assert heights == sorted(heights)
    for number, frame in enumerate(frames, start=1):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        image = images[source.ReferencedSOPInstanceUID]
        assert frame.FrameContentSequence[0].DimensionIndexValues == number
        assert frame.PlanePositionSequence[0].ImagePositionPatient == image.ImagePositionPatient


def test_patient_study_and_frame_of_reference_are_those_of_the_ct(chest):
    dataset = encode_parametric_map(chest.perfusion, chest.context)
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyID",
        "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "SpecificCharacterSet",
    ):  # fmt: skip
        assert dataset[keyword].value == chest.datasets[0][keyword].value
    assert dataset.SeriesInstanceUID != chest.datasets[0].SeriesInstanceUID
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == chest.datasets[0].SeriesInstanceUID
    assert (dataset.ContentDate, dataset.ContentTime) == ("20261101", "091500.25")


def test_it_says_what_a_value_means_and_that_it_is_research(chest):
    finding = Finding("X", Severity.FLAG, "The lungs touch the first slice.", 1.0, 0.0, "ml")
    dataset = encode_parametric_map(chest.perfusion, replace(chest.context, findings=(finding,)))
    mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    quantity, method = mapping.QuantityDefinitionSequence
    assert dataset.ContentQualification == "RESEARCH"
    assert "100 % = mean of both lungs" in dataset.ContentDescription
    assert len(dataset.ContentDescription) <= 64
    assert "mean over both lungs" in mapping.LUTExplanation
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "%"
    assert quantity.ConceptCodeSequence[0].CodeValue == "110831"
    assert method.ConceptCodeSequence[0].CodeValue == "CTNETWORK"
    for sentence in (chest.perfusion.model.caveat, chest.lobes.segmenter.caveat, finding.sentence):
        assert sentence in dataset.DerivationDescription


def test_an_engine_without_weights_is_not_called_a_network(chest):
    baseline = ModelIdentity("baseline", "1")
    perfusion = PerfusionMap(chest.perfusion.values, chest.perfusion.lungs, chest.grid, baseline)
    dataset = encode_parametric_map(perfusion, replace(chest.context, perfusion_model=baseline))
    mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.QuantityDefinitionSequence[1].ConceptCodeSequence[0].CodeValue == "CTDENSITY"


def test_values_above_200_percent_are_inside_the_mapped_range(chest, tmp_path):
    values = chest.perfusion.values.copy()
    values[chest.perfusion.lungs.nonzero()[0][0], *[i[0] for i in chest.perfusion.lungs.nonzero()[1:]]] = 7.31
    perfusion = PerfusionMap(values, chest.perfusion.lungs, chest.grid, chest.perfusion.model)
    path = tmp_path / "map.dcm"
    encode_parametric_map(perfusion, chest.context).save_as(path, enforce_file_format=True)
    assert highdicom.imread(path).get_volume().array.max() == pytest.approx(731)


def test_the_headers_of_the_ct_stay_as_they_are(chest):
    for dataset in chest.datasets:
        dataset.SliceThickness = ""
    context = chest.context
    before = context.source.sha256()
    encode_parametric_map(chest.perfusion, context)
    assert context.source.sha256() == before


def test_a_ct_with_rounded_positions_is_still_one_volume(chest):
    for k, dataset in enumerate(chest.datasets):
        dataset.ImagePositionPatient[2] += (-1) ** k * 0.02
    dataset = encode_parametric_map(chest.perfusion, chest.context)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert dataset.DimensionOrganizationType == "3D"
    assert measures.SpacingBetweenSlices == 4
    assert list(measures.PixelSpacing) == [2.5, 2]


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", "Иванов^Иван"),
        ("GB18030", "王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (None, "Plain^Name"),
    ],
)
def test_names_of_all_scripts_are_the_bytes_of_the_ct(chest, with_headers, tmp_path, character_set, name):
    with_headers(chest, SpecificCharacterSet=character_set, PatientName=name)
    chest.datasets[0].save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    chest.datasets[0] = dcmread(tmp_path / "ct.dcm")
    encode_parametric_map(chest.perfusion, chest.context).save_as(tmp_path / "map.dcm", enforce_file_format=True)
    ct, written = dcmread(tmp_path / "ct.dcm"), dcmread(tmp_path / "map.dcm")
    assert written.get_item("PatientName").value == ct.get_item("PatientName").value
    assert str(written.PatientName) == name
    assert highdicom.imread(tmp_path / "map.dcm").get_volume().array.max() > 100


def test_headers_that_libraries_refuse_are_accepted(chest, with_headers, errors_of_dciodvfy):
    absent = dict.fromkeys(("AccessionNumber", "StudyID", "StudyTime", "PatientBirthDate", "ReferringPhysicianName"))
    with_headers(chest, PatientSex=None, SliceThickness=None, Manufacturer=None, **absent)
    assert errors_of_dciodvfy(encode_parametric_map(chest.perfusion, chest.context)) == []
    with_headers(chest, PatientSex="W")  # highdicom alone stops at this
    assert encode_parametric_map(chest.perfusion, chest.context).PatientSex == "W"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v, lungs: v.__setitem__(lungs, np.nan), "not finite"),
        (lambda v, lungs: v.__setitem__(~lungs, 0.1), "0 everywhere else"),
        (lambda v, lungs: v.__setitem__(lungs, 0.0), "above 0 inside"),
        (lambda v, lungs: v.__setitem__(~lungs, -1.0), "0 everywhere else"),
    ],
)
def test_a_map_that_breaks_its_promise_is_refused(chest, spoil, message):
    values = chest.perfusion.values.copy()
    spoil(values, chest.perfusion.lungs)
    perfusion = PerfusionMap(values, chest.perfusion.lungs, chest.grid, chest.perfusion.model)
    with pytest.raises(EncodingError, match=message):
        encode_parametric_map(perfusion, chest.context)


def test_a_map_of_another_model_than_the_context_is_refused(chest):
    with pytest.raises(EncodingError, match="another model"):
        encode_parametric_map(chest.perfusion, replace(chest.context, perfusion_model=ModelIdentity("x", "1")))


TWO_OBJECTS = """
import hashlib, importlib.util, io, sys
spec = importlib.util.spec_from_file_location("chest", sys.argv[1])
chest_module = importlib.util.module_from_spec(spec); sys.modules["chest"] = chest_module
spec.loader.exec_module(chest_module)
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.structure_set import encode_structure_set
chest = chest_module.make_chest()
for dataset in (encode_parametric_map(chest.perfusion, chest.context),
                encode_structure_set(chest.lobes, chest.regions, chest.context)):
    buffer = io.BytesIO(); dataset.save_as(buffer, enforce_file_format=True)
    print(hashlib.sha256(buffer.getvalue()).hexdigest())
"""


def test_two_processes_write_the_same_bytes():
    def digests(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", TWO_OBJECTS, str(Path(__file__).with_name("conftest.py"))]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()

    first, second = digests("1"), digests("2")
    assert len(set(first)) == 2
    assert first == second
