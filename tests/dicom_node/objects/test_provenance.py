from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicom_node.errors import EncodingError
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.provenance import ascii_text, result_context
from dicom_node.objects.source_series import SourceSeries
from inference.engine import PerfusionResult
from inference.geometry import Grid
from inference.volumes import CtVolume


def test_headers_are_in_slice_order_and_without_pixels_or_private_elements(chest):
    for dataset in chest.datasets:
        block = dataset.private_block(0x0009, "SECRET", create=True)
        block.add_new(1, "LO", "private")
    source = SourceSeries.of(reversed(chest.datasets), chest.reference)
    assert tuple(h.SOPInstanceUID for h in source.headers) == chest.reference.sop_instance_uids
    assert not any("PixelData" in header for header in source.headers)
    assert not any(element.tag.is_private for header in source.headers for element in header.iterall())


def test_private_elements_inside_copied_sequences_are_left_behind(chest):
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = "OLD7", "TEXT"
    item.private_block(0x0009, "SECRET", create=True).add_new(1, "LO", "private")
    chest.datasets[0].OtherPatientIDsSequence = [item]
    target = Dataset()
    SourceSeries.of(chest.datasets, chest.reference).copy_identity(target)
    assert target.OtherPatientIDsSequence[0].PatientID == "OLD7"
    assert not any(element.tag.is_private for element in target.iterall())


@pytest.mark.filterwarnings("ignore:Failed to decode")
@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        # What pydicom would write instead: no empty group at the end, ESC ( B for ESC ( J, U+FFFD for broken bytes.
        ("GB18030", "Wang^XiaoDong=王^小东=".encode("gb18030")),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"),
        ("ISO_IR 100", b"M\xfcller^^^Dr. "),
        ("ISO_IR 192", b"broken\xff\xfe"),
    ],
)
def test_a_received_name_keeps_its_very_bytes(chest, with_headers, character_set, name):
    placeholder = "X" * (len(name) + len(name) % 2)
    with_headers(chest, SpecificCharacterSet=character_set, PatientName=placeholder)
    received = []
    for dataset in chest.datasets:
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        content = buffer.getvalue().replace(placeholder.encode(), name.ljust(len(placeholder)))
        received.append(dcmread(BytesIO(content)))
    assert received[0].get_item("PatientName").value.rstrip() == name.rstrip()
    target = Dataset()
    SourceSeries.of(received, chest.reference).copy_identity(target)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, target)
    assert name.rstrip() in buffer.getvalue()


def test_an_instance_that_is_not_at_hand_is_refused(chest):
    with pytest.raises(EncodingError, match="1 instance"):
        SourceSeries.of(chest.datasets[1:], chest.reference)


@pytest.mark.parametrize("uid", [None, ""])
def test_a_ct_without_frame_of_reference_is_refused(chest, with_headers, uid):
    with pytest.raises(EncodingError, match="Frame of Reference"):
        SourceSeries.of(with_headers(chest, FrameOfReferenceUID=uid).datasets, chest.reference)


def test_a_grid_that_runs_the_other_way_is_refused(chest):
    affine = chest.grid.affine.copy()
    affine[:3, 3] = chest.grid.to_patient_mm(np.array([chest.grid.shape[0] - 1.0, 0.0, 0.0]))
    affine[:3, 0] *= -1
    flipped = Grid(chest.grid.shape, affine, chest.grid.frame_of_reference_uid)
    chest.context.source.require_grid(chest.grid, "map")
    with pytest.raises(EncodingError, match=r"slice 0 lies 52\.00 mm from image 0"):
        chest.context.source.require_grid(flipped, "map")


def test_a_grid_of_another_frame_of_reference_or_matrix_is_refused(chest):
    with pytest.raises(EncodingError, match="frame of reference"):
        chest.context.source.require_grid(Grid(chest.grid.shape, chest.grid.affine, "1.2.3"), "map")
    smaller = chest.grid.cropped((slice(0, 14), slice(0, 40), slice(0, 55)))
    with pytest.raises(EncodingError, match="shape"):
        chest.context.source.require_grid(smaller, "map")


def test_absent_attributes_of_type_2_are_written_empty(chest, with_headers):
    bare = with_headers(chest, AccessionNumber=None, StudyID=None, PatientBirthDate=None, ReferringPhysicianName=None)
    target = Dataset()
    bare.context.source.copy_identity(target)
    for keyword in ("AccessionNumber", "StudyID", "PatientBirthDate", "ReferringPhysicianName"):
        assert keyword in target
        assert target.get(keyword) in ("", None)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({}, ("20261101", "091500.25")),
        ({"ContentDate": None, "AcquisitionDate": "20261030", "AcquisitionTime": "120000"}, ("20261030", "120000")),
        ({"ContentDate": None, "SeriesDate": "20261029"}, ("20261029", "000000")),
        ({"ContentDate": None}, ("20261101", "090000")),
        ({"ContentDate": None, "StudyDate": None}, ("19000101", "000000")),
    ],
)
def test_dates_come_from_the_ct(chest, with_headers, dates, expected):
    assert with_headers(chest, **dates).context.source.date_and_time() == expected


def test_a_text_that_is_not_in_the_declared_character_set_is_never_copied_changed(chest):
    def with_bytes(**texts):
        first = chest.datasets[0]
        for keyword, text in texts.items():
            setattr(first, keyword, text)
        buffer = BytesIO()
        first.save_as(buffer, enforce_file_format=True)
        broken = BytesIO(buffer.getvalue().replace(b"QQ", b"\xff\xfe"))
        return SourceSeries.of([dcmread(broken), *chest.datasets[1:]], chest.reference)

    with pytest.warns(UserWarning, match="Failed to decode"):
        optional = with_bytes(StudyDescription="AQQB")
    assert "StudyDescription" not in optional.representative
    with pytest.warns(UserWarning, match="Failed to decode"), pytest.raises(EncodingError, match="PatientID"):
        with_bytes(PatientID="AQQB")


def test_both_models_are_named_and_their_caveats_said_once(chest):
    context = chest.context
    assert context.caveats() == "Network trained on phantoms only. Lobes are split by planes, not by fissures."
    same = replace(context, segmenter=context.perfusion_model)
    assert same.caveats() == "Network trained on phantoms only."
    target = Dataset()
    context.describe_maker(target)
    assert list(target.SoftwareVersions) == [
        "perfusion-node 0.1.0",
        "test-perfusion 2 (abababababab)",
        "test-segmenter 1",
        "settings cd34",
    ]
    assert target.ContentQualification == "RESEARCH"


def made_by(chest, datasets, hu=-800.0, settings="s"):
    ct = CtVolume(np.full(chest.grid.shape, hu, dtype=np.float32), chest.grid, chest.reference)
    result = PerfusionResult(chest.reference, chest.lobes, chest.perfusion, chest.regions, {}, ())
    return result_context(ct, datasets, result, settings)


def test_uids_follow_voxels_copied_headers_and_settings_and_nothing_else(chest, chest_in, with_headers):
    def uid(*arguments, **options):
        return made_by(chest, *arguments, **options).identifiers.instance_uid(ObjectRole(ObjectKind.STRUCTURE_SET))

    same = uid(chest.datasets)
    assert uid(chest_in("HFS").datasets[::-1]) == same
    assert uid(with_headers(chest_in("HFS"), SeriesDescription="renamed", WindowWidth=1).datasets) == same
    others = [
        uid(chest.datasets, hu=-801.0),
        uid(chest.datasets, settings="t"),
        uid(with_headers(chest_in("HFS"), PatientName="Corrected^Name").datasets),
    ]
    assert len({same, *others}) == 4


def test_the_context_of_a_result_names_its_models(chest):
    context = made_by(chest, chest.datasets)
    assert context.segmenter == chest.lobes.segmenter
    assert context.perfusion_model == chest.perfusion.model
    assert context.content_qualification == "RESEARCH"


def test_our_texts_are_ascii_and_fit():
    assert ascii_text("a – b\\c", 64) == "a ? b/c"
    assert ascii_text("0123456789", 8) == "01234..."
