"""Command sets read and written by hand are those that pynetdicom reads and writes."""

from io import BytesIO

import pytest
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import CTImageStorage

from dicom_node.network.store_commands import read_store_request, store_response

ODD_UID, EVEN_UID = "1.2.3.45", "1.2.3.456"


def request(uid: str) -> C_STORE:
    made = C_STORE()
    made.MessageID, made.Priority = 258, 1
    made.AffectedSOPClassUID, made.AffectedSOPInstanceUID = CTImageStorage, uid
    made.DataSet = BytesIO(b"something")
    return made


def command(primitive: C_STORE) -> bytes:
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    return bytes(next(message.encode_msg(1, 16384)).presentation_data_value_list[0][1][1:])


@pytest.mark.parametrize("uid", [ODD_UID, EVEN_UID])
@pytest.mark.parametrize("moved", [False, True])
def test_a_request_is_read_as_the_library_reads_it(uid: str, moved: bool) -> None:
    primitive = request(uid)
    if moved:
        primitive.MoveOriginatorApplicationEntityTitle, primitive.MoveOriginatorMessageID = "ARCHIVE", 7
    encoded = command(primitive)
    library = DIMSEMessage()
    data = P_DATA()
    data.presentation_data_value_list.append((1, b"\x03" + encoded))
    library.decode_msg(data)
    theirs, ours = library.message_to_primitive(), read_store_request(encoded)
    assert ours is not None
    for name in ("MessageID", "Priority", "AffectedSOPClassUID", "AffectedSOPInstanceUID"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.MessageIDBeingRespondedTo is None


def test_what_is_not_exactly_an_ordinary_request_is_left_to_the_library() -> None:
    encoded = command(request(ODD_UID))
    for cut in range(len(encoded)):
        assert read_store_request(encoded[:cut]) is None
    assert read_store_request(encoded + encoded) is None
    assert read_store_request(encoded.replace(b"\0\1\2\0\0\0\1\0", b"\0\1\2\0\0\0\x30\0")) is None
    assert read_store_request(b"") is None


@pytest.mark.parametrize("uid", [ODD_UID, EVEN_UID])
@pytest.mark.parametrize("status", [0x0000, 0xA700, 0xC001])
def test_a_response_is_written_as_the_library_writes_it(uid: str, status: int) -> None:
    response = C_STORE()
    response.MessageID = response.MessageIDBeingRespondedTo = 258
    response.AffectedSOPClassUID, response.AffectedSOPInstanceUID, response.Status = CTImageStorage, uid, status
    message = C_STORE_RSP()
    message.primitive_to_message(response)
    theirs = P_DATA_TF()
    theirs.from_primitive(next(message.encode_msg(5, 16384)))
    assert store_response(response, 5, 16384) == theirs.encode()
    assert store_response(response, 5, 64) is None
    response.ErrorComment = "what went wrong"
    assert store_response(response, 5, 16384) is None


def test_other_messages_are_no_store_requests() -> None:
    assert read_store_request(b"\0\0\0\1\2\0\0\0\x30\0") is None
