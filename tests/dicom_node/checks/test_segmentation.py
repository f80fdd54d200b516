import numpy as np
import pytest
from pydicom.sequence import Sequence

from dicom_node.objects.kinds import ObjectKind
from tests.dicom_node.checks.conftest import codes_of


def frames(dataset):
    return dataset.PerFrameFunctionalGroupsSequence


def shared(dataset):
    return dataset.SharedFunctionalGroupsSequence[0]


def masks(dataset):
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    return bits[: len(frames(dataset)) * dataset.Rows * dataset.Columns].reshape(-1, dataset.Rows, dataset.Columns)


def store(dataset, array):
    packed = np.packbits(array, bitorder="little").tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)


def segment(dataset, place=0):
    return dataset.SegmentSequence[place]


def setting(where, keyword, value):
    return lambda dataset: setattr(where(dataset), keyword, value)


def one_voxel(dataset):
    array = masks(dataset).copy()
    array[7, 20, 28] ^= 1
    store(dataset, array)


def mirrored(dataset):
    store(dataset, masks(dataset)[:, :, ::-1])


def shifted_bits(dataset):
    """As if every frame began at a byte of its own."""
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    packed = np.packbits(np.roll(bits, 8), bitorder="little").tobytes()
    dataset.PixelData = packed


def lose_bytes(dataset):
    dataset.PixelData = dataset.PixelData[:-2]


def lose_a_frame_item(dataset):
    del frames(dataset)[-1]


def number_of(dataset, frame):
    return frames(dataset)[frame].SegmentIdentificationSequence[0]


def swap_first_frames(dataset):
    """Position, source and voxels together: right, but in the order that some readers take for reversed."""
    items = list(frames(dataset))
    array = masks(dataset).copy()
    items[0], items[1] = items[1], items[0]
    array[[0, 1]] = array[[1, 0]]
    dataset.PerFrameFunctionalGroupsSequence = Sequence(items)
    store(dataset, array)


def swap_positions(dataset):
    first, second = frames(dataset)[:2]
    first.PlanePositionSequence, second.PlanePositionSequence = (
        second.PlanePositionSequence,
        first.PlanePositionSequence,
    )


def swap_sources(dataset):
    first, second = frames(dataset)[:2]
    first.DerivationImageSequence, second.DerivationImageSequence = (
        second.DerivationImageSequence,
        first.DerivationImageSequence,
    )


def off_position(dataset):
    position = frames(dataset)[0].PlanePositionSequence[0]
    x, y, z = position.ImagePositionPatient
    position.ImagePositionPatient = [x, y, float(z) - 0.1]


def repeat_position(dataset):
    frames(dataset)[1].PlanePositionSequence = frames(dataset)[0].PlanePositionSequence


def swap_labels(dataset):
    a, b = segment(dataset, 0), segment(dataset, 3)
    a.SegmentLabel, b.SegmentLabel = b.SegmentLabel, a.SegmentLabel


PLANTED = [
    ({"SEGMENT_NUMBERS", "SEGMENT_FRAMES", "SEGMENT_SHAPE_DIFFERS"}, setting(segment, "SegmentNumber", 9)),
    ({"SEGMENT_LABELS", "SEGMENT_ABSENT", "SEGMENT_SHAPE_DIFFERS"}, setting(segment, "SegmentLabel", "LUNG_rll")),
    ({"SEGMENT_LABELS", "SEGMENT_ABSENT", "SEGMENT_UNKNOWN"}, setting(segment, "SegmentLabel", "")),
    ({"SEGMENT_ABSENT", "SEGMENT_UNKNOWN"}, setting(segment, "SegmentLabel", "Lung_RUL2")),
    ({"SEGMENT_FRAMES"}, setting(lambda d: d, "SegmentationType", "FRACTIONAL")),
    ({"SEGMENT_FRAMES"}, lose_bytes),
    ({"SEGMENT_FRAMES"}, lose_a_frame_item),
    (
        {"SEGMENT_FRAMES", "SEGMENT_SHAPE_DIFFERS"},
        lambda d: setattr(number_of(d, 0), "ReferencedSegmentNumber", 8),
    ),
    ({"SEGMENT_FRAME_ORDER"}, swap_first_frames),
    ({"SEGMENT_FRAME_ORDER", "SEGMENT_SOURCE_IMAGE", "SEGMENT_SHAPE_DIFFERS"}, swap_positions),
    ({"SEGMENT_SOURCE_IMAGE"}, swap_sources),
    ({"SEGMENT_GEOMETRY"}, off_position),
    (
        {"SEGMENT_GEOMETRY", "SEGMENT_FRAME_ORDER", "SEGMENT_SOURCE_IMAGE", "SEGMENT_SHAPE_DIFFERS"},
        repeat_position,
    ),
    (
        {"SEGMENT_GEOMETRY"},
        lambda d: setattr(shared(d).PixelMeasuresSequence[0], "PixelSpacing", [2.5, 2.01]),
    ),
    ({"SEGMENT_SHAPE_DIFFERS"}, one_voxel),
    ({"SEGMENT_SHAPE_DIFFERS"}, mirrored),
    ({"SEGMENT_SHAPE_DIFFERS"}, shifted_bits),
    ({"SEGMENT_SHAPE_DIFFERS"}, swap_labels),
]


@pytest.mark.parametrize(("codes", "mutation"), PLANTED)
def test_a_planted_fault_is_found_under_its_code(planted, codes, mutation):
    assert codes_of(planted(ObjectKind.SEGMENTATION, mutation)) == codes


def test_a_single_voxel_counts(planted):
    (fault,) = planted(ObjectKind.SEGMENTATION, one_voxel)
    assert fault.sentence.startswith("1 voxel(s) differ")
    assert fault.where.startswith("segment Lung_")
