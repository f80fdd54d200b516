from copy import deepcopy

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dicom_node.objects.kinds import ObjectKind
from tests.dicom_node.checks.conftest import codes_of

CONTOUR_DATA = Tag("ContourData")
LUNGS, LEFT, RIGHT, RUL, RML, HIGH, LOW = 0, 1, 2, 3, 4, 8, 9
"""Places of ROIs in the set."""


def definition(dataset, place=LUNGS):
    return dataset.StructureSetROISequence[place]


def drawn(dataset, place=LUNGS):
    return dataset.ROIContourSequence[place]


def contour(dataset, place=LUNGS, number=0):
    return drawn(dataset, place).ContourSequence[number]


def observation(dataset, place=LUNGS):
    return dataset.RTROIObservationsSequence[place]


def points(item):
    return np.array([float(part) for part in item.get_item(CONTOUR_DATA).value.split(b"\\")]).reshape(-1, 3)


def store(item, array, form="%.4f"):
    encoded = "\\".join(form % value for value in np.ravel(array)).encode()
    encoded += b" " * (len(encoded) % 2)
    item[CONTOUR_DATA] = RawDataElement(CONTOUR_DATA, "DS", len(encoded), encoded, 0, True, True)


def moved(item, by_mm):
    store(item, points(item) + by_mm)


def setting(where, keyword, value):
    def change(dataset):
        setattr(where(dataset), keyword, value)

    return change


def on(mutation, where=contour):
    return lambda dataset: mutation(where(dataset))


def repeat_first_point(item):
    array = points(item)
    store(item, np.vstack([array, array[:1]]))
    item.NumberOfContourPoints += 1


def two_points(item):
    store(item, points(item)[:2])
    item.NumberOfContourPoints = 2


def too_long(item):
    """Points on the straight lines between points: the same shape in more bytes than explicit VR can say."""
    array = points(item)
    parts = np.linspace(array, np.roll(array, -1, axis=0), 200, endpoint=False, axis=1)
    store(item, parts.reshape(-1, 3), "%.6f")
    item.NumberOfContourPoints = parts.size // 3


def long_number(item):
    """As text of 18 bytes, seen to be refused by a planning system."""
    store(item, points(item), "%.14f")


def no_number(item):
    array = points(item)
    store(item, array)
    encoded = item.get_item(CONTOUR_DATA).value.replace(b"\\", b"\\x", 1)
    item[CONTOUR_DATA] = RawDataElement(CONTOUR_DATA, "DS", len(encoded), encoded, 0, True, True)


def next_image(dataset):
    contour(dataset).ContourImageSequence = contour(dataset, number=-1).ContourImageSequence


def no_image(item):
    del item.ContourImageSequence


def unknown_image(item):
    item.ContourImageSequence[0].ReferencedSOPInstanceUID = "2.25.1"


def leave_image(dataset):
    moved(contour(dataset), [500.0, 0, 0])


def hole_as_contour(dataset):
    """A square drawn once more inside the lung: what some readers fill and others cut out."""
    item = deepcopy(contour(dataset, LEFT, number=3))
    array = points(item)
    centre = array.mean(axis=0)
    store(item, centre + np.array([[-4, -4, 0], [4, -4, 0], [4, 4, 0], [-4, 4, 0]]))
    item.NumberOfContourPoints = 4
    drawn(dataset, LEFT).ContourSequence.append(item)


def same_contour_twice(dataset):
    drawn(dataset, LOW).ContourSequence.append(deepcopy(contour(dataset, LOW)))


def swap_names(first, second):
    def change(dataset):
        a, b = definition(dataset, first), definition(dataset, second)
        a.ROIName, b.ROIName = b.ROIName, a.ROIName

    return change


def give_lobe_to_next(dataset):
    """The upper lobe's contours once more as those of the middle lobe."""
    drawn(dataset, RML).ContourSequence = deepcopy(drawn(dataset, RUL).ContourSequence)


def high_outside_lungs(dataset):
    for item in drawn(dataset, HIGH).ContourSequence:
        moved(item, [0, 9.0, 0])


def remove(keyword, place):
    def change(dataset):
        del dataset[keyword].value[place]

    return change


def remove_roi(place):
    def change(dataset):
        for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
            del dataset[keyword].value[place]

    return change


def remove_all(dataset):
    dataset.StructureSetROISequence = dataset.ROIContourSequence = dataset.RTROIObservationsSequence = Sequence()


def same_number(dataset):
    definition(dataset, LEFT).ROINumber = 1


def unknown_number(dataset):
    observation(dataset).ReferencedROINumber = 99


def referenced(dataset):
    return dataset.ReferencedFrameOfReferenceSequence[0]


def study(dataset):
    return referenced(dataset).RTReferencedStudySequence[0]


def series(dataset):
    return study(dataset).RTReferencedSeriesSequence[0]


def lose_an_image(dataset):
    del series(dataset).ContourImageSequence[0]


def lose_contours_of_a_slice(dataset):
    """A tenth of the lungs, about: what is left is right."""
    last = contour(dataset, number=-1).ContourImageSequence[0].ReferencedSOPInstanceUID
    kept = [
        item for item in drawn(dataset).ContourSequence if item.ContourImageSequence[0].ReferencedSOPInstanceUID != last
    ]
    drawn(dataset).ContourSequence = kept[:-4]


def empty(item):
    item.ContourSequence = []


PLANTED = [
    ({"SET_LABEL"}, setting(lambda d: d, "StructureSetLabel", "RESEARCH PERFUSION")),
    ({"SET_LABEL"}, setting(lambda d: d, "StructureSetLabel", "")),
    ({"SET_APPROVED"}, setting(lambda d: d, "ApprovalStatus", "APPROVED")),
    ({"SET_EMPTY"}, remove_all),
    ({"SET_SOURCES"}, lose_an_image),
    ({"SET_SOURCES"}, setting(study, "ReferencedSOPInstanceUID", "2.25.1")),
    ({"SET_SOURCES"}, setting(series, "SeriesInstanceUID", "2.25.1")),
    ({"SET_SOURCES", "ROI_FRAME_OF_REFERENCE"}, setting(referenced, "FrameOfReferenceUID", "2.25.1")),
    ({"ROI_NUMBER_REPEATED", "ROI_UNRESOLVED", "ROI_SHAPE_DIFFERS", "ROIS_OVERLAP"}, same_number),
    ({"ROI_UNRESOLVED"}, unknown_number),
    ({"ROI_UNRESOLVED", "ROI_SHAPE_DIFFERS", "ROI_NOT_IN_LUNGS"}, remove("ROIContourSequence", LUNGS)),
    ({"ROI_UNRESOLVED"}, remove("RTROIObservationsSequence", LUNGS)),
    ({"ROI_UNRESOLVED", "ROI_ABSENT"}, remove("StructureSetROISequence", LUNGS)),
    ({"ROI_NAME", "ROI_UNKNOWN", "ROI_ABSENT"}, setting(definition, "ROIName", "Lungs of the patient")),
    ({"ROI_NAME", "ROI_UNKNOWN", "ROI_ABSENT"}, setting(definition, "ROIName", "")),
    ({"ROI_NAME", "ROI_UNKNOWN", "ROI_ABSENT"}, setting(definition, "ROIName", "Lungs\u00e4")),
    (
        {"ROI_NAME_REPEATED", "ROI_SHAPE_DIFFERS", "ROI_ABSENT"},
        setting(lambda d: definition(d, RIGHT), "ROIName", "LUNG_l"),
    ),
    ({"ROI_FRAME_OF_REFERENCE"}, setting(definition, "ReferencedFrameOfReferenceUID", "2.25.1")),
    ({"ROI_NOT_AUTOMATIC"}, setting(definition, "ROIGenerationAlgorithm", "MANUAL")),
    ({"ROI_TYPE"}, setting(observation, "RTROIInterpretedType", "PTV")),
    ({"ROI_COLOUR"}, setting(drawn, "ROIDisplayColor", [0, 256, 0])),
    ({"ROI_COLOUR"}, setting(drawn, "ROIDisplayColor", [0, 255])),
    ({"ROI_EMPTY", "ROI_SHAPE_DIFFERS", "ROI_NOT_IN_LUNGS"}, on(empty, drawn)),
    ({"ROI_UNKNOWN", "ROI_ABSENT"}, setting(definition, "ROIName", "Lungs-GTV")),
    ({"ROI_ABSENT"}, remove_roi(RML)),
    ({"CONTOUR_TYPE"}, setting(contour, "ContourGeometricType", "CLOSEDPLANAR_XOR")),
    ({"CONTOUR_NUMBERS"}, on(long_number)),
    ({"CONTOUR_NUMBERS", "ROI_NOT_IN_LUNGS"}, on(no_number)),
    ({"CONTOUR_TOO_LONG"}, on(too_long)),
    ({"CONTOUR_POINT_COUNT"}, setting(contour, "NumberOfContourPoints", 3)),
    ({"CONTOUR_TOO_FEW_POINTS", "ROI_NOT_IN_LUNGS"}, on(two_points)),
    ({"CONTOUR_CLOSED_TWICE"}, on(repeat_first_point)),
    ({"CONTOUR_IMAGE", "ROI_NOT_IN_LUNGS"}, on(no_image)),
    ({"CONTOUR_IMAGE", "ROI_NOT_IN_LUNGS"}, on(unknown_image)),
    ({"CONTOUR_OFF_PLANE"}, lambda d: moved(contour(d), [0, 0, 0.002])),
    ({"CONTOUR_OFF_PLANE", "ROI_NOT_IN_LUNGS"}, next_image),
    ({"CONTOUR_OUTSIDE_IMAGE", "ROI_NOT_IN_LUNGS"}, leave_image),
    ({"CONTOURS_OVERLAP"}, hole_as_contour),
    ({"CONTOURS_OVERLAP"}, same_contour_twice),
    ({"SIDES_SWAPPED", "ROI_SHAPE_DIFFERS"}, swap_names(LEFT, RIGHT)),
    ({"ROI_SHAPE_DIFFERS"}, swap_names(HIGH, LOW)),
    ({"ROIS_OVERLAP", "ROI_SHAPE_DIFFERS"}, give_lobe_to_next),
    ({"ROIS_OVERLAP", "ROI_NOT_IN_LUNGS", "ROI_SHAPE_DIFFERS"}, high_outside_lungs),
    ({"ROI_SHAPE_DIFFERS", "ROI_NOT_IN_LUNGS"}, lose_contours_of_a_slice),
]


@pytest.mark.parametrize(("codes", "mutation"), PLANTED)
def test_a_planted_fault_is_found_under_its_code(planted, codes, mutation):
    assert codes_of(planted(ObjectKind.STRUCTURE_SET, mutation)) == codes
