import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from dicom_node.errors import EncodingError
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.mr_twin import encode_mr_twin
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.provenance import EarlierInstance
from inference.model_card import ModelIdentity
from inference.quality.checks import Finding, Severity
from inference.volumes import PerfusionMap
from tests.tools import error_lines, tool

REPOSITORY = Path(__file__).parents[3]
POSITIONS = ["HFS", "FFS", "HFP", "HFS-DESCENDING"]
PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")


def saved(chest, folder):
    folder.mkdir(exist_ok=True)
    paths = []
    for dataset in encode_mr_twin(chest.perfusion, chest.context):
        paths.append(folder / f"{dataset.InstanceNumber:03d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def with_value(chest, relative):
    values = chest.perfusion.values.copy()
    inside = tuple(index[0] for index in chest.perfusion.lungs.nonzero())
    values[inside] = relative
    return PerfusionMap(values, chest.perfusion.lungs, chest.grid, chest.perfusion.model), inside


@pytest.mark.parametrize("position", POSITIONS)
def test_dciodvfy_finds_no_error_in_any_image(chest_in, tmp_path, position):
    for path in saved(chest_in(position), tmp_path / "mr"):
        assert error_lines(path) == []


@pytest.mark.parametrize("position", POSITIONS)
def test_simpleitk_sees_ten_units_per_percent_at_our_positions(chest_in, on_grid, tmp_path, position):
    chest = chest_in(position)
    saved(chest, tmp_path / "mr")
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "mr")))
    SimpleITK.WriteImage(reader.Execute(), str(tmp_path / "seen.nrrd"))
    seen = on_grid(tmp_path / "seen.nrrd", chest.grid)
    assert np.abs(seen - 1000.0 * chest.perfusion.values).max() <= 0.501


@pytest.mark.parametrize("position", POSITIONS)
def test_plastimatch_sees_the_same_values_at_our_positions(chest_in, on_grid, tmp_path, position):
    chest = chest_in(position)
    saved(chest, tmp_path / "mr")
    command = [tool("plastimatch"), "convert", "--input", tmp_path / "mr", "--output-img", tmp_path / "seen.nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    seen = on_grid(tmp_path / "seen.nrrd", chest.grid)
    assert np.array_equal(seen, np.stack([d.pixel_array for d in encode_mr_twin(chest.perfusion, chest.context)]))


def test_it_is_the_parametric_map_rounded_to_a_tenth_of_a_percent(chest):
    frames = encode_parametric_map(chest.perfusion, chest.context)
    percent = np.frombuffer(frames.FloatPixelData, "<f4").reshape(chest.grid.shape).astype(np.float64)
    twin = np.stack([dataset.pixel_array for dataset in encode_mr_twin(chest.perfusion, chest.context)])
    assert np.array_equal(twin, np.rint(10 * percent))


def test_lung_without_perfusion_is_1_and_only_the_outside_is_0(chest):
    perfusion, inside = with_value(chest, 1e-9)
    twin = np.stack([dataset.pixel_array for dataset in encode_mr_twin(perfusion, chest.context)])
    assert twin[inside] == 1
    assert np.array_equal(twin > 0, perfusion.lungs)


def test_the_highest_value_that_fits_is_kept_and_a_higher_one_refused(chest):
    perfusion, (k, row, column) = with_value(chest, 65.5349)
    assert list(encode_mr_twin(perfusion, chest.context))[k].pixel_array[row, column] == 65535
    with pytest.raises(EncodingError, match="6554 % does not fit"):
        encode_mr_twin(with_value(chest, 65.536)[0], chest.context)


@pytest.mark.parametrize("position", POSITIONS)
def test_each_image_has_the_plane_of_its_ct_image_in_the_same_digits(chest_in, tmp_path, position):
    chest = chest_in(position)
    for k, dataset in enumerate(chest.datasets):
        dataset.PatientPosition = position[:3]
        dataset.ImagePositionPatient[2] = f"{float(dataset.ImagePositionPatient[2]):.4f}00"  # no number's own text
        dataset.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
        chest.datasets[k] = dcmread(tmp_path / f"{k}.dcm")
    for k, path in enumerate(saved(chest, tmp_path / "mr")):
        ct, twin = dcmread(tmp_path / f"{k}.dcm"), dcmread(path)
        for keyword in (*PLANE, "FrameOfReferenceUID", "PatientPosition"):
            assert twin.get_item(keyword).value == ct.get_item(keyword).value, keyword
        assert (twin.Rows, twin.Columns, twin.InstanceNumber) == (ct.Rows, ct.Columns, k + 1)
        assert twin.SourceImageSequence[0].ReferencedSOPInstanceUID == ct.SOPInstanceUID
        assert twin.SpacingBetweenSlices == 4


def test_it_says_that_it_is_neither_mr_nor_for_dose_and_what_a_value_means(chest):
    finding = Finding("X", Severity.FLAG, "The lungs touch the first slice.", 1.0, 0.0, "ml")
    dataset = next(encode_mr_twin(chest.perfusion, replace(chest.context, findings=(finding,))))
    for words in ("RESEARCH", "NOT MR", "NOT FOR DOSE"):
        assert words in dataset.SeriesDescription
        assert words in dataset.ImageComments
    assert "Pixel value = 10 x percent" in dataset.ImageComments
    for sentence in (chest.perfusion.model.caveat, chest.lobes.segmenter.caveat, finding.sentence):
        assert sentence in dataset.ImageComments
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert dataset.DerivationCodeSequence[0].CodeValue == "129104"
    assert (dataset.WindowCenter, dataset.WindowWidth) == (1000, 2000)
    assert not {"RescaleSlope", "RescaleIntercept", "RealWorldValueMappingSequence"} & set(dataset.dir())


def test_all_images_are_one_series_of_the_ct_study_with_uids_of_their_own(chest):
    datasets = list(encode_mr_twin(chest.perfusion, chest.context))
    assert len({d.SOPInstanceUID for d in datasets}) == len(datasets) == chest.grid.shape[0]
    assert len({d.SeriesInstanceUID for d in datasets}) == 1
    assert {d.StudyInstanceUID for d in datasets} == {chest.datasets[0].StudyInstanceUID}
    assert datasets[0].SeriesInstanceUID != chest.datasets[0].SeriesInstanceUID
    assert {str(d.PatientName) for d in datasets} == {"Müller^Jürgen"}


def test_only_the_first_image_names_the_series_that_it_supersedes(chest):
    earlier = EarlierInstance("1.2.840.10008.5.1.4.1.1.4", "1.2.3", "1.2.4")
    context = replace(chest.context, earlier={str(ObjectRole(ObjectKind.MR_TWIN)): earlier})
    first, *others = encode_mr_twin(chest.perfusion, context)
    assert first.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert not any("ReferencedInstanceSequence" in dataset for dataset in others)


def test_a_ct_without_patient_position_or_thickness_and_with_lossy_pixels_still_has_a_valid_twin(
    chest, with_headers, tmp_path
):
    with_headers(chest, SliceThickness=None, LossyImageCompression="01", LossyImageCompressionRatio="8.5")
    with_headers(chest, LossyImageCompressionMethod="ISO_10918_1", AccessionNumber=None)
    first = dcmread(saved(chest, tmp_path / "mr")[0])
    assert error_lines(tmp_path / "mr" / "001.dcm") == []
    assert (first.SliceThickness, first.LossyImageCompression, first.PatientPosition) == (4, "01", "")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v, lungs: v.__setitem__(lungs, np.nan), "not finite"),
        (lambda v, lungs: v.__setitem__(~lungs, 0.1), "0 everywhere else"),
    ],
)
def test_a_map_that_breaks_its_promise_is_refused_before_the_first_image(chest, spoil, message):
    values = chest.perfusion.values.copy()
    spoil(values, chest.perfusion.lungs)
    with pytest.raises(EncodingError, match=message):
        encode_mr_twin(PerfusionMap(values, chest.perfusion.lungs, chest.grid, chest.perfusion.model), chest.context)


def test_what_does_not_belong_together_is_refused(chest, chest_in):
    with pytest.raises(EncodingError, match="slice 0 lies"):
        encode_mr_twin(chest_in("FFS").perfusion, chest.context)
    with pytest.raises(EncodingError, match="another model"):
        encode_mr_twin(chest.perfusion, replace(chest.context, perfusion_model=ModelIdentity("x", "1")))


def peak_bytes(work):
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_images_are_made_one_at_a_time(chest):
    context = chest.context

    def one_by_one():
        for _ in encode_mr_twin(chest.perfusion, context):
            pass

    one_by_one()  # pydicom fills its caches
    all_at_once = peak_bytes(lambda: list(encode_mr_twin(chest.perfusion, context)))
    assert peak_bytes(one_by_one) < all_at_once / 2


TWIN_DIGEST = """
import hashlib, importlib.util, io, sys
spec = importlib.util.spec_from_file_location("chest", sys.argv[1])
chest_module = importlib.util.module_from_spec(spec); sys.modules["chest"] = chest_module
spec.loader.exec_module(chest_module)
from dicom_node.objects.mr_twin import encode_mr_twin
chest = chest_module.make_chest()
digest = hashlib.sha256()
for dataset in encode_mr_twin(chest.perfusion, chest.context):
    buffer = io.BytesIO(); dataset.save_as(buffer, enforce_file_format=True)
    digest.update(buffer.getvalue())
print(digest.hexdigest())
"""


def test_two_processes_write_the_same_bytes():
    def digest(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", TWIN_DIGEST, str(Path(__file__).with_name("conftest.py"))]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert digest("1") == digest("2") != ""
