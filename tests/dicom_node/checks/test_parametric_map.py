import numpy as np
import pytest
from pydicom.sequence import Sequence

from dicom_node.objects.kinds import ObjectKind
from tests.dicom_node.checks.conftest import codes_of


def shared(dataset):
    return dataset.SharedFunctionalGroupsSequence[0]


def frames(dataset):
    return dataset.PerFrameFunctionalGroupsSequence


def values(dataset):
    return np.frombuffer(dataset.FloatPixelData, "<f4").reshape(-1, dataset.Rows, dataset.Columns).copy()


def store(dataset, array):
    dataset.FloatPixelData = array.astype("<f4").tobytes()


def set_voxel(value):
    def change(dataset):
        array = values(dataset)
        array[3, 5, 6] = value
        store(dataset, array)

    return change


def lose_last_bytes(dataset):
    dataset.FloatPixelData = dataset.FloatPixelData[:-8]


def lose_a_frame_item(dataset):
    del frames(dataset)[-1]


def lose_a_frame(dataset):
    del frames(dataset)[-1]
    dataset.NumberOfFrames -= 1
    store(dataset, values(dataset)[:-1])


def head_first_in_file(dataset):
    """What highdicom writes by itself: frames from head to feet, each with its own position and values."""
    order = list(range(dataset.NumberOfFrames))[::-1]
    store(dataset, values(dataset)[order])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frames(dataset)[k] for k in order])
    for number, frame in enumerate(frames(dataset), start=1):
        frame.FrameContentSequence[0].DimensionIndexValues = number


def number_backwards(dataset):
    for number, frame in enumerate(frames(dataset)):
        frame.FrameContentSequence[0].DimensionIndexValues = dataset.NumberOfFrames - number


def turn_values_over(dataset):
    store(dataset, values(dataset)[::-1])


def mirror_rows(dataset):
    store(dataset, values(dataset)[:, :, ::-1])


def shift_a_frame(dataset):
    position = frames(dataset)[4].PlanePositionSequence[0].ImagePositionPatient
    position[0] = float(position[0]) + 0.1


def repeat_a_frame(dataset):
    """One position twice, another one not at all."""
    frames(dataset)[5].PlanePositionSequence = frames(dataset)[4].PlanePositionSequence


def turn_orientation(dataset):
    shared(dataset).PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 0.9999, 0.0141]


def name_next_source(dataset):
    first, second = (frame.DerivationImageSequence[0] for frame in frames(dataset)[:2])
    first.SourceImageSequence, second.SourceImageSequence = second.SourceImageSequence, first.SourceImageSequence


def mapping(dataset):
    return shared(dataset).RealWorldValueMappingSequence[0]


def set_unit(dataset):
    mapping(dataset).MeasurementUnitsCodeSequence[0].CodeValue = "1"


def set_quantity(dataset):
    definition = mapping(dataset).QuantityDefinitionSequence[0]
    definition.ConceptCodeSequence[0].CodeValue = "126397"


def change(keyword, value):
    def mutation(dataset):
        setattr(mapping(dataset), keyword, value)

    return mutation


def no_anatomy(dataset):
    del shared(dataset).FrameAnatomySequence


def no_laterality(dataset):
    del shared(dataset).FrameAnatomySequence[0].FrameLaterality


def other_spacing(dataset):
    shared(dataset).PixelMeasuresSequence[0].PixelSpacing = [2.5, 2.001]


PLANTED = [
    ({"MAP_FRAMES"}, lose_last_bytes),
    ({"MAP_FRAMES", "MAP_SLICES"}, lose_a_frame_item),
    ({"MAP_SLICES"}, lose_a_frame),
    ({"MAP_FRAME_ORDER"}, head_first_in_file),
    ({"MAP_FRAME_ORDER"}, number_backwards),
    ({"MAP_VALUES_DIFFER"}, turn_values_over),
    ({"MAP_VALUES_DIFFER"}, mirror_rows),
    ({"MAP_SLICES"}, shift_a_frame),
    ({"MAP_FRAME_ORDER", "MAP_SLICES", "MAP_SOURCE_IMAGE", "MAP_VALUES_DIFFER"}, repeat_a_frame),
    ({"MAP_GEOMETRY"}, turn_orientation),
    ({"MAP_GEOMETRY"}, other_spacing),
    ({"MAP_SOURCE_IMAGE"}, name_next_source),
    ({"MAP_QUANTITY"}, set_unit),
    ({"MAP_QUANTITY"}, set_quantity),
    ({"MAP_QUANTITY"}, change("RealWorldValueSlope", 0.01)),
    ({"MAP_QUANTITY"}, change("RealWorldValueIntercept", 1.0)),
    ({"MAP_OUT_OF_RANGE"}, change("DoubleFloatRealWorldValueLastValueMapped", 90.0)),
    ({"MAP_OUT_OF_RANGE"}, change("DoubleFloatRealWorldValueFirstValueMapped", 1.0)),
    ({"MAP_ANATOMY_ABSENT"}, no_anatomy),
    ({"MAP_ANATOMY_ABSENT"}, no_laterality),
    ({"MAP_NOT_FINITE", "MAP_VALUES_DIFFER"}, set_voxel(np.nan)),
    ({"MAP_NOT_FINITE", "MAP_VALUES_DIFFER"}, set_voxel(np.inf)),
    ({"MAP_NEGATIVE", "MAP_VALUES_DIFFER"}, set_voxel(-1.0)),
    ({"MAP_VALUES_DIFFER"}, set_voxel(0.01)),
]


@pytest.mark.parametrize(("codes", "mutation"), PLANTED)
def test_a_planted_fault_is_found_under_its_code(planted, codes, mutation):
    assert codes_of(planted(ObjectKind.PARAMETRIC_MAP, mutation)) == codes


def test_a_fault_names_the_frame(planted):
    (fault,) = planted(ObjectKind.PARAMETRIC_MAP, shift_a_frame)[:1]
    assert (fault.object, fault.code) == ("parametric-map.dcm", "MAP_SLICES")
    (fault,) = planted(ObjectKind.PARAMETRIC_MAP, set_voxel(0.01))
    assert fault.where == "frame 4"
