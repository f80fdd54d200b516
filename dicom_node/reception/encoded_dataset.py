"""Reads the few attributes the spool needs from an encoded dataset, and refuses one that is not complete.

Why not pydicom: it reads truncated and over-long datasets without complaint and recurses without limit into nested
sequences. A node that answers Success for half an instance loses data silently, so every element is walked here,
bounds are checked, and nothing is decoded. What is not detected: values that are wrong but well-formed, compressed
pixels that do not decode, and a cut exactly between the pixel data and optional elements after it.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.uid import UID

from dicom_node.errors import InvalidInstance

MAXIMUM_NESTING: Final = 16
"""Sequences within sequences. CT objects use three; real enhanced objects fewer than ten."""

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_DELIMITATION: Final = 0xFFFEE00D
_SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
_LAST_GROUP_BEFORE_DATA: Final = 0x0007  # groups 0000, 0002 and 0004 never occur in a dataset (PS3.5 section 7.1)

_SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_MODALITY: Final = 0x00080060
_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
_SAMPLES: Final = 0x00280002
_PHOTOMETRIC: Final = 0x00280004
_FRAMES: Final = 0x00280008
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_BITS: Final = 0x00280100
_PIXEL_DATA: Final = 0x7FE00010
_PIXEL_TAGS: Final = frozenset({_PIXEL_DATA, 0x7FE00008, 0x7FE00009})
_WANTED: Final = frozenset(
    {_SOP_CLASS, _SOP_INSTANCE, _MODALITY, _STUDY, _SERIES, _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS}
)

_UID: Final = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """What the spool must know of an instance to file it. All UIDs hold digits and dots only, at most 64."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str


def read_header(encoded: bytes, transfer_syntax_uid: str) -> InstanceHeader:
    """Walk an encoded image dataset from end to end and return its identity.

    Args:
        encoded: The dataset as received, without file meta information.
        transfer_syntax_uid: The syntax accepted for it; deflated syntaxes are not supported.

    Raises:
        InvalidInstance: The bytes are no complete image instance: an element reaches beyond the end, nesting is deeper
            than `MAXIMUM_NESTING`, an identifying UID is absent or not a UID (PS3.5 section 9), or the pixel data are
            absent or not as long as rows, columns, samples, bits and frames say (PS3.5 section 8).
    """
    walker = _Walker(encoded, UID(transfer_syntax_uid))
    walker.walk()
    walker.check_pixels()
    return InstanceHeader(
        sop_class_uid=walker.uid(_SOP_CLASS, "SOP Class UID"),
        sop_instance_uid=walker.uid(_SOP_INSTANCE, "SOP Instance UID"),
        study_instance_uid=walker.uid(_STUDY, "Study Instance UID"),
        series_instance_uid=walker.uid(_SERIES, "Series Instance UID"),
        modality=walker.text(_MODALITY)[:16],
    )


class _Walker:
    """One pass over the bytes; keeps the wanted values of the top level."""

    def __init__(self, encoded: bytes, transfer_syntax: UID) -> None:
        self._bytes = encoded
        self._implicit = transfer_syntax.is_implicit_VR
        self._encapsulated = transfer_syntax.is_encapsulated
        self._order = "<" if transfer_syntax.is_little_endian else ">"
        self._values: dict[int, bytes] = {}
        self._pixels: tuple[int, int] | None = (
            None  # tag, length; the length of encapsulated pixels is their fragments'
        )

    def walk(self) -> None:
        position = 0
        while position < len(self._bytes):
            position = self._element(position, len(self._bytes), depth=0, implicit=self._implicit)

    def text(self, tag: int) -> str:
        return self._values.get(tag, b"").decode("ascii", "replace").strip(" \0")

    def uid(self, tag: int, name: str) -> str:
        value = self.text(tag)
        if not _UID.fullmatch(value):
            raise InvalidInstance(f"{name} is absent or not a UID")
        return value

    def number(self, tag: int, default: int | None = None) -> int:
        raw = self._values.get(tag, b"")
        if tag == _FRAMES:
            text = self.text(tag)
            return int(text) if re.fullmatch(r"\+?[0-9]{1,9}", text) else 1
        if len(raw) == 2:
            return int(struct.unpack(self._order + "H", raw)[0])
        if default is None:
            raise InvalidInstance("rows, columns or bits allocated are absent")
        return default

    def check_pixels(self) -> None:
        """Compare the length of the pixel data with what the image attributes say (PS3.5 sections 8.1 and A.4)."""
        if self._pixels is None:
            raise InvalidInstance("there are no pixel data")
        tag, length = self._pixels
        if self._encapsulated:
            if length == 0:
                raise InvalidInstance("the compressed pixel data are empty")
            return
        bits = {_PIXEL_DATA: self.number(_BITS, 0), 0x7FE00008: 32, 0x7FE00009: 64}[tag]
        samples = self.number(_SAMPLES, 1)
        if self.text(_PHOTOMETRIC) == "YBR_FULL_422":
            samples = 2  # two chroma samples shared by two pixels
        expected = -(-self.number(_ROWS) * self.number(_COLUMNS) * samples * bits * self.number(_FRAMES) // 8)
        if expected == 0 or length not in (expected, expected + expected % 2):
            raise InvalidInstance(f"the pixel data have {length} bytes where {expected} are expected")

    def _header(self, at: int, end: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR (empty if implicit), length and where the value starts (PS3.5 section 7.1)."""
        if at + 8 > end:
            raise InvalidInstance("an element is cut off")
        group, number = struct.unpack_from(self._order + "HH", self._bytes, at)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:
            return tag, b"", struct.unpack_from(self._order + "L", self._bytes, at + 4)[0], at + 8
        vr = self._bytes[at + 4 : at + 6]
        if vr in _SHORT_VRS:
            return tag, vr, struct.unpack_from(self._order + "H", self._bytes, at + 6)[0], at + 8
        if vr not in _LONG_VRS or at + 12 > end:
            raise InvalidInstance("an element has an unknown value representation or is cut off")
        return tag, vr, struct.unpack_from(self._order + "L", self._bytes, at + 8)[0], at + 12

    def _element(self, at: int, end: int, *, depth: int, implicit: bool) -> int:
        """Check one element and return where the next one starts."""
        tag, vr, length, start = self._header(at, end, implicit)
        if tag >> 16 <= _LAST_GROUP_BEFORE_DATA or tag >> 16 == 0xFFFE:
            raise InvalidInstance("an element has a tag that cannot occur in a dataset")
        if length == _UNDEFINED:
            return self._undefined(tag, vr, start, end, depth=depth, implicit=implicit)
        if length > end - start:
            raise InvalidInstance("an element reaches beyond the end of the dataset")
        if vr == b"SQ" or (implicit and _is_sequence(tag)):
            self._items(start, start + length, depth=depth + 1, implicit=implicit, delimited=False)
        if depth == 0:
            self._keep(tag, start, length)
        return start + length

    def _keep(self, tag: int, start: int, length: int) -> None:
        if tag in _PIXEL_TAGS:
            if self._encapsulated or self._pixels is not None:
                raise InvalidInstance("the pixel data occur twice, or are native in a compressed transfer syntax")
            self._pixels = tag, length
        elif tag in _WANTED:
            if tag in self._values:
                raise InvalidInstance("an identifying element occurs twice")
            self._values[tag] = self._bytes[start : start + length]

    def _undefined(self, tag: int, vr: bytes, start: int, end: int, *, depth: int, implicit: bool) -> int:
        if depth == 0 and tag == _PIXEL_DATA:
            if not self._encapsulated or self._pixels is not None:
                raise InvalidInstance("the pixel data occur twice, or are compressed in a native transfer syntax")
            return self._fragments(start, end)
        if vr not in (b"", b"SQ", b"UN"):
            raise InvalidInstance("an element that is no sequence has no length")
        # The content of a UN element of undefined length is always implicit little endian (PS3.5 section 6.2.2).
        return self._items(start, end, depth=depth + 1, implicit=implicit or vr == b"UN", delimited=True)

    def _items(self, at: int, end: int, *, depth: int, implicit: bool, delimited: bool) -> int:
        """Check the items of a sequence (PS3.5 section 7.5) and return where it ends."""
        if depth > MAXIMUM_NESTING:
            raise InvalidInstance(f"sequences are nested deeper than {MAXIMUM_NESTING}")
        while at < end:
            tag, _, length, at = self._header(at, end, implicit)
            if tag == _SEQUENCE_DELIMITATION and delimited:
                return at
            if tag != _ITEM:
                raise InvalidInstance("a sequence holds something that is no item")
            at = self._item(at, end, length, depth=depth, implicit=implicit)
        if delimited:
            raise InvalidInstance("a sequence does not end")
        return at

    def _item(self, at: int, end: int, length: int, *, depth: int, implicit: bool) -> int:
        item_end = end if length == _UNDEFINED else at + length
        if item_end > end:
            raise InvalidInstance("an item reaches beyond the end of its sequence")
        while at < item_end:
            if length == _UNDEFINED:
                tag, _, _, after = self._header(at, end, implicit)
                if tag == _ITEM_DELIMITATION:
                    return after
            at = self._element(at, item_end, depth=depth, implicit=implicit)
        if length == _UNDEFINED:
            raise InvalidInstance("an item does not end")
        return at

    def _fragments(self, at: int, end: int) -> int:
        """Sum up the fragments after the offset table (PS3.5 section A.4)."""
        total, first = 0, True
        while at < end:
            tag, _, length, at = self._header(at, end, implicit=True)
            if tag == _SEQUENCE_DELIMITATION:
                self._pixels = _PIXEL_DATA, total
                return at
            if tag != _ITEM or length > end - at:
                raise InvalidInstance("the compressed pixel data are cut off or malformed")
            total += 0 if first else length
            first = False
            at += length
        raise InvalidInstance("the compressed pixel data do not end")


def _is_sequence(tag: int) -> bool:
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:  # private or unknown
        return False
