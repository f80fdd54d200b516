"""The few bytes in front of a dataset that make it a DICOM file (PS3.10 section 7.1).

Written here rather than by pydicom so that the bytes depend on nothing but the three UIDs: the same instance received
twice gives the same file. The preamble is zeroed, so a received file can never pose as a program.
"""

import struct
from typing import Final

IMPLEMENTATION_CLASS_UID: Final = "2.25.216312190374012379114962354290177532163"
"""Identifies this program in files and associations (PS3.7 annex D.3.3.2); made once from a random UUID."""
IMPLEMENTATION_VERSION_NAME: Final = "PERFUSION_NODE"
"""At most 16 characters; without a version number, so that files do not change with every release."""

_PREFIX: Final = b"\0" * 128 + b"DICM"
_GROUP_LENGTH_ELEMENT: Final = 12
_TRANSFER_SYNTAX: Final = 0x0010


def file_preamble(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and file meta information for a dataset that is stored as it came."""
    version = struct.pack("<HH2sHL", 2, 0x0001, b"OB", 0, 2) + b"\0\1"
    elements = version + b"".join(
        (
            _short_element(0x0002, b"UI", sop_class_uid, b"\0"),
            _short_element(0x0003, b"UI", sop_instance_uid, b"\0"),
            _short_element(_TRANSFER_SYNTAX, b"UI", transfer_syntax_uid, b"\0"),
            _short_element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            _short_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
        )
    )
    return _PREFIX + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(elements)) + elements


def dataset_offset(content: bytes) -> tuple[int, str]:
    """Where the dataset starts in a file that `file_preamble` began, and its transfer syntax."""
    (length,) = struct.unpack_from("<L", content, len(_PREFIX) + 8)
    start = len(_PREFIX) + _GROUP_LENGTH_ELEMENT
    end, at = start + length, start + 14  # after the version element
    while at < end:
        _, element, _, size = struct.unpack_from("<HH2sH", content, at)
        if element == _TRANSFER_SYNTAX:
            return end, content[at + 8 : at + 8 + size].rstrip(b"\0").decode("ascii")
        at += 8 + size
    raise ValueError("the file meta information names no transfer syntax")


def _short_element(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii")
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value
