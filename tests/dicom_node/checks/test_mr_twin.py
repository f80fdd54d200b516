from dataclasses import replace

import numpy as np
import pytest

from dicom_node.checks.check import check_result
from dicom_node.objects.kinds import ObjectKind
from inference.volumes import PerfusionMap
from tests.dicom_node.checks.conftest import ChestFiles, codes_of, encoded, parsed, write
from tests.dicom_node.objects.conftest import MODEL, make_chest

FIRST, MIDDLE = "mr-twin.1.dcm", "mr-twin.7.dcm"


def setting(keyword, value):
    return lambda dataset: setattr(dataset, keyword, value)


def pixels(dataset):
    return np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns).copy()


def store(dataset, array):
    dataset.PixelData = array.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def lose_a_row(dataset):
    dataset.PixelData = dataset.PixelData[: -2 * dataset.Columns]


def one_unit_more(dataset):
    array = pixels(dataset)
    array[20, 28] += 1
    store(dataset, array)


def percent(dataset):
    store(dataset, pixels(dataset) // 10)


def upside_down(dataset):
    store(dataset, pixels(dataset)[::-1])


def shifted(dataset):
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + 0.5]


def unknown_source(dataset):
    dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = "2.25.1"


PLANTED = [
    ({"TWIN_PIXELS"}, setting("PixelRepresentation", 1)),
    ({"TWIN_PIXELS"}, setting("BitsStored", 12)),
    ({"TWIN_PIXELS"}, setting("RescaleSlope", 0.1)),
    ({"TWIN_PIXELS"}, lose_a_row),
    ({"TWIN_UNLABELLED"}, setting("SeriesDescription", "RESEARCH CT perfusion")),
    ({"TWIN_GEOMETRY", "TWIN_SLICES"}, shifted),
    ({"TWIN_GEOMETRY"}, setting("PixelSpacing", [2.5, 2.01])),
    ({"TWIN_GEOMETRY"}, setting("ImageOrientationPatient", [-1, 0, 0, 0, 1, 0])),
    ({"TWIN_GEOMETRY"}, setting("PatientPosition", "FFP")),
    ({"TWIN_SOURCE_IMAGE"}, unknown_source),
    ({"TWIN_VALUES_DIFFER"}, one_unit_more),
    ({"TWIN_SLICES"}, setting("SeriesInstanceUID", "2.25.1")),
]


@pytest.mark.parametrize(("codes", "mutation"), PLANTED)
def test_a_planted_fault_is_found_under_its_code(planted, codes, mutation):
    assert codes_of(planted(ObjectKind.MR_TWIN, mutation)) == codes


def check(files, changed, folder):
    return check_result(write(changed, folder), files.headers(), files.result)


def test_an_image_that_is_missing_is_told(files, tmp_path):
    images = files.of_kind(ObjectKind.MR_TWIN)
    del images[FIRST]
    (fault,) = check(files, images, tmp_path)
    assert (fault.code, fault.sentence) == ("TWIN_SLICES", "1 CT image(s) have no image in the series")


def test_two_images_on_one_ct_image_are_told(files, tmp_path):
    images = files.of_kind(ObjectKind.MR_TWIN)
    twice = parsed(images[FIRST])
    twice.SOPInstanceUID = twice.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    (fault,) = check(files, images | {"twice.dcm": encoded(twice)}, tmp_path)
    assert (fault.code, fault.sentence[:10]) == ("TWIN_SLICES", "1 image(s)")


@pytest.mark.parametrize("wrong", [percent, upside_down])
def test_values_are_compared_in_every_image(files, tmp_path, wrong):
    """The first image of the chest has no lung; only images with lung can be wrong here."""
    images = files.of_kind(ObjectKind.MR_TWIN)
    for name, content in images.items():
        dataset = parsed(content)
        wrong(dataset)
        images[name] = encoded(dataset)
    faults = check(files, images, tmp_path)
    with_lung = np.count_nonzero(files.chest.perfusion.lungs.any(axis=(1, 2)))
    assert codes_of(faults) == {"TWIN_VALUES_DIFFER"}
    assert len(faults) == with_lung


def test_lung_with_hardly_any_perfusion_is_1_and_not_0(tmp_path):
    chest = make_chest()
    values = chest.perfusion.values.copy()
    place = tuple(np.argwhere(chest.perfusion.lungs[6])[0])
    values[6][place] = 0.0003  # 0.03 %, which rounds to 0
    chest = replace(chest, perfusion=PerfusionMap(values, chest.perfusion.lungs, chest.grid, MODEL))
    files = ChestFiles.of(chest, [ObjectKind.MR_TWIN])
    dataset = parsed(files.objects[MIDDLE])
    array = pixels(dataset)
    assert array[place] == 1
    assert check(files, files.objects, tmp_path) == ()
    array[place] = 0
    store(dataset, array)
    assert codes_of(check(files, files.objects | {MIDDLE: encoded(dataset)}, tmp_path)) == {"TWIN_VALUES_DIFFER"}
