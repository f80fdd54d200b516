import subprocess
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import EncodingError
from dicom_node.objects.codes import RoiType
from dicom_node.objects.profile import Sets, StructureGroup, StructureSetProfile
from dicom_node.objects.provenance import EarlierInstance
from dicom_node.objects.structure_set import encode_structure_set
from inference.anatomy import Lobe, Side
from inference.errors import GridMismatch
from inference.model_card import ModelIdentity
from inference.volumes import FunctionRegions, LobeMap

POSITIONS = ["HFS", "FFS", "HFP", "HFS-DESCENDING"]


def encoded(chest, **options):
    return encode_structure_set(chest.lobes, chest.regions, chest.context, StructureSetProfile(**options))


def reread(dataset):
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


def expected_masks(chest):
    lobes, regions = chest.lobes, chest.regions
    return {
        "Lungs": lobes.lungs,
        **{side.tg263: lobes.lung(side) for side in Side},
        **{lobe.tg263: lobes.mask(lobe) for lobe in Lobe},
        "Lungs^HighPerf": regions.high,
        "Lungs^LowPerf": regions.low,
    }


def contours_by_name(dataset):
    names = {roi.ROINumber: roi.ROIName for roi in dataset.StructureSetROISequence}
    return {names[roi.ReferencedROINumber]: roi.ContourSequence for roi in dataset.ROIContourSequence}


@pytest.mark.parametrize("position", POSITIONS)
def test_dciodvfy_finds_no_error(chest_in, errors_of_dciodvfy, position):
    assert errors_of_dciodvfy(encoded(chest_in(position))) == []


@pytest.mark.parametrize("fill", [[], ["--xor-contours"]])
@pytest.mark.parametrize("position", POSITIONS)
def test_plastimatch_gets_every_mask_back(chest_in, program, on_grid, tmp_path, position, fill):
    chest = chest_in(position)
    (tmp_path / "ct").mkdir()
    for k, dataset in enumerate(chest.datasets):
        dataset.save_as(tmp_path / "ct" / f"{k}.dcm", enforce_file_format=True)
    encoded(chest).save_as(tmp_path / "rs.dcm", enforce_file_format=True)
    command = [program("plastimatch"), "convert", "--input", tmp_path / "rs.dcm", "--referenced-ct", tmp_path / "ct"]
    command += ["--output-prefix", tmp_path / "masks", "--prefix-format", "nii.gz", *fill]
    subprocess.run(command, check=True, capture_output=True)
    for name, mask in expected_masks(chest).items():
        seen = on_grid(tmp_path / "masks" / f"{name}.nii.gz", chest.grid) > 0
        dice = 2 * np.count_nonzero(seen & mask) / (np.count_nonzero(seen) + np.count_nonzero(mask))
        assert dice >= 0.995, name


def test_numbers_names_and_references_agree(chest):
    dataset = reread(encoded(chest))
    rois, drawn, seen = (
        dataset.StructureSetROISequence,
        dataset.ROIContourSequence,
        dataset.RTROIObservationsSequence,
    )
    assert [roi.ROIName for roi in rois] == list(expected_masks(chest))
    assert [roi.ROINumber for roi in rois] == list(range(1, 11))
    assert [r.ReferencedROINumber for r in drawn] == [r.ReferencedROINumber for r in seen] == list(range(1, 11))
    assert {roi.ROIGenerationAlgorithm for roi in rois} == {"AUTOMATIC"}
    assert {roi.ReferencedFrameOfReferenceUID for roi in rois} == {dataset.FrameOfReferenceUID}
    assert dataset.ApprovalStatus == "UNAPPROVED"
    assert dataset.PositionReferenceIndicator == ""


def test_every_contour_lies_in_the_plane_of_the_image_it_refers_to(chest_in):
    chest = chest_in("FFS")
    for k, header in enumerate(chest.datasets):
        header.ImagePositionPatient[2] += (-1) ** k * 0.0123  # as rounded by a scanner
    planes = {str(d.SOPInstanceUID): float(d.ImagePositionPatient[2]) for d in chest.datasets}
    dataset = reread(encoded(chest))
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    series = study.RTReferencedSeriesSequence[0]
    assert [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence] == list(planes)
    assert series.SeriesInstanceUID == chest.datasets[0].SeriesInstanceUID
    assert study.ReferencedSOPInstanceUID == chest.datasets[0].StudyInstanceUID
    for contours in contours_by_name(dataset).values():
        for contour in contours:
            plane = planes[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert {round(float(z) - plane, 4) for z in contour.ContourData[2::3]} == {0}


def test_contour_data_is_short_plain_decimal_text(chest):
    dataset = reread(encoded(chest))
    for contours in contours_by_name(dataset).values():
        for contour in contours:
            text = contour.get_item("ContourData").value
            values = text.decode("ascii").rstrip(" ").split("\\")
            assert len(text) <= 65534
            assert len(text) % 2 == 0
            assert max(map(len, values)) <= 16
            assert not any(float(v) == 0 and v.startswith("-") for v in values)
            assert len(values) == 3 * contour.NumberOfContourPoints >= 12
            assert values[:3] != values[-3:]
            assert contour.ContourGeometricType == "CLOSED_PLANAR"


@pytest.mark.parametrize("character_set", ["ISO_IR 192", ["", "ISO 2022 IR 87"], None])
def test_saving_writes_contour_bytes_as_they_are(chest, with_headers, character_set):
    # If pydicom parsed each number on saving, a large structure set would take ten times as long and more memory.
    with_headers(chest, SpecificCharacterSet=character_set, PatientName="Plain^Name")
    dataset = encoded(chest)
    dataset.save_as(BytesIO(), enforce_file_format=True)
    for roi in dataset.ROIContourSequence:
        assert roi.get_item("ContourSequence").is_raw


def test_transfer_syntax_is_implicit_and_conversion_to_explicit_keeps_the_vr_of_contours(chest, tmp_path):
    dataset = encoded(chest)
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.save_as(tmp_path / "explicit.dcm", enforce_file_format=True, implicit_vr=False)
    first = dcmread(tmp_path / "explicit.dcm").ROIContourSequence[0].ContourSequence[0]
    assert first.get_item("ContourData").VR == "DS"


def test_it_says_rule_caveats_and_research(chest):
    dataset = encoded(chest)
    described = {roi.ROIName: roi.ROIDescription for roi in dataset.StructureSetROISequence}
    for caveat in (chest.perfusion.model.caveat, chest.lobes.segmenter.caveat):
        assert caveat in dataset.StructureSetDescription
        assert caveat in described["Lungs^HighPerf"]
    assert chest.regions.rule.statement() in described["Lungs^LowPerf"]
    assert chest.lobes.segmenter.caveat in described["Lung_RML"]
    assert dataset.ContentQualification == "RESEARCH"
    assert "RESEARCH" in dataset.SeriesDescription


def test_only_a_network_is_called_artificial_intelligence(chest):
    def families(dataset):
        return [
            roi.ROIDerivationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0].CodeMeaning
            for roi in dataset.StructureSetROISequence
        ]

    assert families(encoded(chest)) == ["Morphological Operations"] * 8 + ["Artificial Intelligence"] * 2
    baseline = replace(chest.context, perfusion_model=ModelIdentity("baseline", "1"))
    dataset = encode_structure_set(chest.lobes, chest.regions, baseline)
    assert families(dataset)[8:] == ["Histogram Analysis"] * 2


def test_a_site_chooses_separator_type_and_label(chest, errors_of_dciodvfy):
    dataset = encoded(chest, name_separator="_", function_roi_type=RoiType.AVOIDANCE, label="SITE")
    assert [roi.ROIName for roi in dataset.StructureSetROISequence][8:] == ["Lungs_HighPerf", "Lungs_LowPerf"]
    types = [item.RTROIInterpretedType for item in dataset.RTROIObservationsSequence]
    assert types == ["ORGAN"] * 8 + ["AVOIDANCE"] * 2
    assert dataset.StructureSetLabel == "SITE"
    assert errors_of_dciodvfy(dataset) == []


@pytest.mark.parametrize("wrong", [{"name_separator": "/"}, {"label": "more than sixteen"}, {"label": ""}])
def test_impossible_choices_are_refused(wrong):
    with pytest.raises(ValueError, match=r"separator|label"):
        StructureSetProfile(**wrong)


def test_a_region_without_voxels_is_left_out_and_named(chest, errors_of_dciodvfy):
    empty = FunctionRegions(np.zeros_like(chest.regions.high), chest.regions.low, chest.grid, chest.regions.rule)
    dataset = encode_structure_set(chest.lobes, empty, chest.context)
    assert "Lungs^HighPerf" not in contours_by_name(dataset)
    assert "Lungs^LowPerf" in contours_by_name(dataset)
    assert "absent: Lungs^HighPerf." in dataset.StructureSetDescription
    assert errors_of_dciodvfy(dataset) == []


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)
def test_names_of_all_scripts_are_the_bytes_of_the_ct(chest, with_headers, tmp_path, character_set, name):
    with_headers(chest, SpecificCharacterSet=character_set, PatientName=name)
    chest.datasets[0].save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    written = reread(encoded(chest))
    assert written.get_item("PatientName").value == dcmread(tmp_path / "ct.dcm").get_item("PatientName").value
    assert str(written.PatientName) == name
    assert all(float(v) == float(v) for v in written.ROIContourSequence[0].ContourSequence[0].ContourData)


def test_missing_attributes_of_type_2_are_written_empty(chest, with_headers, errors_of_dciodvfy):
    keywords = ("AccessionNumber", "StudyID", "StudyTime", "PatientBirthDate", "PatientSex", "ReferringPhysicianName")
    with_headers(chest, **dict.fromkeys(keywords), PositionReferenceIndicator=None)
    dataset = encoded(chest)
    assert all(keyword in dataset for keyword in keywords)
    assert errors_of_dciodvfy(dataset) == []


def test_what_does_not_belong_together_is_refused(chest, chest_in):
    other = chest_in("FFS")
    with pytest.raises(GridMismatch):
        encode_structure_set(chest.lobes, other.regions, chest.context)
    with pytest.raises(EncodingError, match="slice 0 lies"):
        encode_structure_set(other.lobes, other.regions, chest.context)
    with pytest.raises(EncodingError, match="another segmenter"):
        encode_structure_set(chest.lobes, chest.regions, replace(chest.context, segmenter=ModelIdentity("x", "1")))
    nothing = LobeMap(np.zeros_like(chest.lobes.labels), chest.grid, chest.lobes.segmenter)
    with pytest.raises(EncodingError, match="no lung"):
        encode_structure_set(nothing, chest.regions, chest.context)


def test_two_sets_part_anatomy_from_function_and_are_series_of_their_own(chest, errors_of_dciodvfy):
    profile = StructureSetProfile(sets=Sets.TWO)
    made = [
        encode_structure_set(chest.lobes, chest.regions, chest.context, profile, role) for role in profile.contents()
    ]
    assert [list(contours_by_name(dataset)) for dataset in made] == [
        [name for name in expected_masks(chest) if "Perf" not in name],
        ["Lungs^HighPerf", "Lungs^LowPerf"],
    ]
    assert len({dataset.SeriesInstanceUID for dataset in made} | {dataset.SOPInstanceUID for dataset in made}) == 4
    assert [error for dataset in made for error in errors_of_dciodvfy(dataset)] == []


def test_a_profile_chooses_structures_and_how_long_contours_may_be(chest):
    profile = StructureSetProfile(structures=(StructureGroup.FUNCTION,), most_points=100)
    dataset = encode_structure_set(chest.lobes, chest.regions, chest.context, profile)
    longest = {name: max(c.NumberOfContourPoints for c in found) for name, found in contours_by_name(dataset).items()}
    assert list(longest) == ["Lungs^HighPerf", "Lungs^LowPerf"]
    assert max(longest.values()) <= 100
    usual = contours_by_name(encoded(chest))["Lungs^HighPerf"]
    assert max(contour.NumberOfContourPoints for contour in usual) > 100  # else the limit was never met


def test_another_profile_gives_another_uid_and_only_to_structure_sets(chest):
    assert encoded(chest).SOPInstanceUID != encoded(chest, name_separator="_").SOPInstanceUID
    assert encoded(chest).SOPInstanceUID == encoded(chest, basis="a better reason").SOPInstanceUID


def test_a_revised_set_has_new_uids_and_names_the_one_it_supersedes(chest, errors_of_dciodvfy):
    first = encoded(chest)
    context = chest.context.superseding("first-result", {"structure-set": EarlierInstance.of(first)})
    revised = encode_structure_set(chest.lobes, chest.regions, context)
    (reference,) = revised.PredecessorStructureSetSequence
    assert reference.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert revised.SOPInstanceUID != first.SOPInstanceUID
    assert revised.SeriesInstanceUID != first.SeriesInstanceUID
    assert errors_of_dciodvfy(revised) == []
    assert "PredecessorStructureSetSequence" not in first
