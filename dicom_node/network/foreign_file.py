"""The beginning of a DICOM file that another program wrote, read without pydicom and with bounds checked.

`reception.part10` reads only files of our own, whose file meta information always looks the same. PS3.10 section 7.1.
"""

import struct
from dataclasses import dataclass
from typing import Final

_GROUP_LENGTH_END: Final = 144
_LONG_VRS: Final = (b"OB", b"OW", b"UN", b"UT", b"UC", b"UR")


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """What a file says of itself before its dataset."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset_offset: int


def read_foreign_file(content: bytes) -> ForeignFile:
    """Read preamble and file meta information.

    Raises:
        ValueError: It is no DICOM file, or they are cut off or name no transfer syntax.
    """
    if content[128:132] != b"DICM" or content[132:138] != b"\2\0\0\0UL" or len(content) < _GROUP_LENGTH_END:
        raise ValueError("it does not begin as a DICOM file")
    (length,) = struct.unpack_from("<L", content, _GROUP_LENGTH_END - 4)
    at, end = _GROUP_LENGTH_END, _GROUP_LENGTH_END + length
    uids: dict[int, str] = {}
    while at + 8 <= min(end, len(content)):
        _, element, vr, size = struct.unpack_from("<HH2sH", content, at)
        at += 8
        if vr in _LONG_VRS:
            (size,) = struct.unpack("<L", content[at : at + 4].ljust(4, b"\xff"))
            at += 4
        uids[element] = content[at : at + size].rstrip(b"\0 ").decode("ascii", "replace")
        at += size
    if at != end or end > len(content) or 0x0010 not in uids:
        raise ValueError("its file meta information is cut off, or names no transfer syntax")
    return ForeignFile(uids.get(0x0002, ""), uids.get(0x0003, ""), uids[0x0010], end)
