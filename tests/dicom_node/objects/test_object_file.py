import tracemalloc

import pytest
from pydicom import dcmread

from dicom_node.objects.mr_twin import encode_mr_twin
from dicom_node.objects.object_file import write_object
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.structure_set import encode_structure_set

OBJECTS = {
    "map": lambda chest: encode_parametric_map(chest.perfusion, chest.context),
    "twin": lambda chest: next(encode_mr_twin(chest.perfusion, chest.context)),
    "set without pixels": lambda chest: encode_structure_set(chest.lobes, chest.regions, chest.context),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_file_is_that_of_pydicom_and_the_dataset_stays_as_it_was(chest, tmp_path, kind):
    dataset = OBJECTS[kind](chest)
    write_object(dataset, tmp_path / "ours.dcm")
    dataset.save_as(tmp_path / "pydicom.dcm", enforce_file_format=True)
    assert (tmp_path / "ours.dcm").read_bytes() == (tmp_path / "pydicom.dcm").read_bytes()


def test_pixels_of_odd_length_are_padded(chest, tmp_path):
    dataset = next(encode_mr_twin(chest.perfusion, chest.context))
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.PixelData = b"\1\2\3"
    dataset["PixelData"].VR = "OB"
    write_object(dataset, tmp_path / "odd.dcm")
    assert dcmread(tmp_path / "odd.dcm").PixelData == b"\1\2\3\0"


def test_pixels_are_not_copied_for_writing(chest, tmp_path):
    dataset = encode_parametric_map(chest.perfusion, chest.context)
    dataset.FloatPixelData = bytes(8_000_000)
    tracemalloc.start()
    write_object(dataset, tmp_path / "map.dcm")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4_000_000
    assert isinstance(dataset.FloatPixelData, bytes)


def test_a_failed_write_leaves_the_dataset_as_it_was(chest, tmp_path):
    dataset = encode_parametric_map(chest.perfusion, chest.context)
    with pytest.raises(FileNotFoundError):
        write_object(dataset, tmp_path / "no folder" / "map.dcm")
    assert isinstance(dataset.FloatPixelData, bytes)
