import numpy as np
import pytest
from pydicom.charset import default_encoding
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from dicom_node.objects.contour_sequence import CONTOUR_SEQUENCE, contour_sequence, ct_planes
from dicom_node.objects.contours import PlanarContour, trace_contours

POSITIONS = ["HFS", "FFS", "HFP", "HFS-DESCENDING"]


def holding(contours, chest):
    dataset = Dataset()
    dataset[CONTOUR_SEQUENCE] = contour_sequence(contours, ct_planes(chest.context.source, chest.grid))
    dataset.set_original_encoding(True, True, default_encoding)
    return dataset


def encoded(dataset):
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def as_objects(contours, chest):
    """The same by pydicom alone, with numbers rounded by Python."""
    dataset = Dataset()
    dataset.ContourSequence = []
    for number, contour in enumerate(contours, start=1):
        header = chest.datasets[contour.slice_index]
        points = contour.points_mm + (
            np.array(header.ImagePositionPatient, dtype=float)
            - chest.grid.to_patient_mm(np.array([contour.slice_index, 0.0, 0.0]))
        )
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        item = Dataset()
        item.ContourImageSequence = [image]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints, item.ContourNumber = len(points), number
        rounded = [(round(x, 2) + 0.0, round(y, 2) + 0.0, round(z, 4) + 0.0) for x, y, z in points.tolist()]
        item.ContourData = "\\".join(f"{x:.2f}\\{y:.2f}\\{z:.4f}" for x, y, z in rounded)
        dataset.ContourSequence.append(item)
    return dataset


@pytest.mark.parametrize("position", POSITIONS)
def test_the_bytes_are_those_that_pydicom_writes_for_the_same_contours(chest_in, position):
    chest = chest_in(position)
    for k, header in enumerate(chest.datasets):
        header.ImagePositionPatient[2] += (-1) ** k * 0.0123  # as rounded by a scanner
    for mask in (chest.lobes.lungs, chest.regions.high):
        contours = trace_contours(mask, chest.grid)
        assert encoded(holding(contours, chest)) == encoded(as_objects(contours, chest))


def test_numbers_near_zero_have_no_sign_and_large_ones_all_their_digits(chest):
    start = np.array(chest.datasets[0].ImagePositionPatient, dtype=float)
    on_grid = chest.grid.to_patient_mm(np.zeros(3))
    points = np.array([[-0.001, 0.004, -0.00004], [-1234.567, 999.999, -1234.56784], [0.124, -7.0, 3.0]])
    contours = [PlanarContour(0, points - (start - on_grid))]
    data = holding(contours, chest).ContourSequence[0].ContourData
    assert [str(number) for number in data] == (
        ["0.00", "0.00", "0.0000", "-1234.57", "1000.00", "-1234.5678", "0.12", "-7.00", "3.0000"]
    )


def test_pydicom_parses_it_only_when_somebody_looks(chest):
    contours = trace_contours(chest.lobes.lungs, chest.grid)
    dataset = holding(contours, chest)
    written = encoded(dataset)
    assert dataset.get_item(CONTOUR_SEQUENCE).is_raw
    items = dataset.ContourSequence
    assert [item.NumberOfContourPoints for item in items] == [len(contour.points_mm) for contour in contours]
    assert encoded(dataset) == written
    assert items[0].get_item("ContourData").is_raw


def test_what_is_written_is_read_back_within_the_rounding(chest):
    contours = trace_contours(chest.regions.low, chest.grid)
    buffer = DicomBytesIO(encoded(holding(contours, chest)))
    items = read_dataset(buffer, is_implicit_VR=True, is_little_endian=True).ContourSequence
    for item, contour in zip(items, contours, strict=True):
        points = np.array(item.ContourData, dtype=float).reshape(-1, 3)
        assert np.abs(points - contour.points_mm).max() <= 0.0051
