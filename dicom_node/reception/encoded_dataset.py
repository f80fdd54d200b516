"""Reads the few attributes the spool needs from an encoded dataset, and refuses one that is not complete.

Why not pydicom: it reads truncated and over-long datasets without complaint and recurses without limit into nested
sequences. A node that answers Success for half an instance loses data silently, so every element is walked here,
bounds are checked, and nothing is decoded. What is not detected: values that are wrong but well-formed, compressed
pixels that do not decode, and a cut exactly between the pixel data and optional elements after it.
"""

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.uid import UID, RTStructureSetStorage, SpatialRegistrationStorage

from dicom_node.errors import InvalidInstance

MAXIMUM_NESTING: Final = 16
"""Sequences within sequences. CT objects use three; real enhanced objects fewer than ten."""

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_DELIMITATION: Final = 0xFFFEE00D
_SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
# Groups 0000, 0002 and 0004 never occur in a dataset (PS3.5 section 7.1); FFFE is that of the delimiters.
_LAST_GROUP_BEFORE_DATA: Final = 0x0007
_FIRST_GROUP_AFTER_DATA: Final = 0xFFFE

_LENGTH_IS_LONG: Final = dict.fromkeys(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split(), False
) | dict.fromkeys(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split(), True)
"""By VR: whether its length has four bytes instead of two (PS3.5 section 7.1.2)."""

_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_MODALITY: Final = 0x00080060
_PATIENT_ID: Final = 0x00100020
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
    {_SOP_CLASS, _SOP_INSTANCE, _MODALITY, _PATIENT_ID, _STUDY, _SERIES}
    | {_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS}
)

_REQUIRED_WITHOUT_PIXELS: Final[dict[str, frozenset[int]]] = {
    RTStructureSetStorage: frozenset({0x30060020, 0x30060039, 0x30060080}),
    SpatialRegistrationStorage: frozenset({0x00700308}),
}
"""SOP classes that are accepted without pixel data, with sequences of type 1 that must be there (PS3.3 sections
C.8.8.5, C.8.8.6 and C.8.8.8; C.20.2). The last of them comes near the end, so that a dataset cut between two elements
is found."""
_MARKED: Final = _PIXEL_TAGS.union(_WANTED, *_REQUIRED_WITHOUT_PIXELS.values())

_UID: Final = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")
_COUNT: Final = re.compile(r"\+?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """What the spool must know of an instance to file it. All UIDs hold digits and dots only, at most 64."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    patient_id: str = ""
    """For the audit trail only. Read as Latin-1, so that no character set can make it fail."""


def read_header(encoded: bytes | memoryview, transfer_syntax_uid: str) -> InstanceHeader:
    """Walk an encoded dataset from end to end and return its identity.

    Args:
        encoded: The dataset as received, without file meta information.
        transfer_syntax_uid: The syntax accepted for it; deflated syntaxes are not supported.

    Raises:
        InvalidInstance: The bytes are no complete instance: an element reaches beyond the end, nesting is deeper than
            `MAXIMUM_NESTING`, an identifying UID is absent or not a UID (PS3.5 section 9), the pixel data are absent
            or not as long as rows, columns, samples, bits and frames say (PS3.5 section 8), compressed pixel data have
            fewer fragments than frames (PS3.5 section A.4), or a structure set lacks one of its sequences.
    """
    walker = _Walker(encoded, UID(transfer_syntax_uid))
    walker.walk()
    walker.check_content()
    return InstanceHeader(
        sop_class_uid=walker.uid(_SOP_CLASS, "SOP Class UID"),
        sop_instance_uid=walker.uid(_SOP_INSTANCE, "SOP Instance UID"),
        study_instance_uid=walker.uid(_STUDY, "Study Instance UID"),
        series_instance_uid=walker.uid(_SERIES, "Series Instance UID"),
        modality=walker.text(_MODALITY)[:16],
        patient_id=walker.text(_PATIENT_ID, "latin-1")[:64],
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the header of an element is laid out (PS3.5 section 7.1)."""

    implicit: bool
    header: struct.Struct
    """Tag, VR and a short length; in implicit layout tag and length."""
    tag_and_length: struct.Struct
    """Of items and delimiters, which have no VR in any layout."""
    long_length: struct.Struct

    @classmethod
    def of(cls, *, implicit: bool, order: str) -> "_Layout":
        header = struct.Struct(order + ("HHL" if implicit else "HH2sH"))
        return cls(implicit, header, struct.Struct(order + "HHL"), struct.Struct(order + "L"))


_IMPLICIT: Final = _Layout.of(implicit=True, order="<")
_EXPLICIT: Final = _Layout.of(implicit=False, order="<")
_EXPLICIT_BIG_ENDIAN: Final = _Layout.of(implicit=False, order=">")


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Where the pixels are and how many bytes of them."""

    tag: int
    length: int
    fragments: int | None
    """None if they are not compressed."""


class _Walker:
    """One pass over the bytes; keeps the wanted values of the top level."""

    def __init__(self, encoded: bytes | memoryview, transfer_syntax: UID) -> None:
        self._bytes = encoded
        self._encapsulated = transfer_syntax.is_encapsulated
        if transfer_syntax.is_implicit_VR:
            self._layout = _IMPLICIT
        else:
            self._layout = _EXPLICIT if transfer_syntax.is_little_endian else _EXPLICIT_BIG_ENDIAN
        self._values: dict[int, bytes] = {}
        self._pixels: _Pixels | None = None

    def walk(self) -> None:
        self._elements(0, len(self._bytes), 0, self._layout, delimited=False)

    def text(self, tag: int, encoding: str = "ascii") -> str:
        return self._values.get(tag, b"").decode(encoding, "replace").strip(" \0")

    def uid(self, tag: int, name: str) -> str:
        value = self.text(tag)
        if not _UID.fullmatch(value):
            raise InvalidInstance(f"{name} is absent or not a UID")
        return value

    def check_content(self) -> None:
        """Compare the length of the pixel data with what the image attributes say (PS3.5 sections 8.1 and A.4)."""
        required = _REQUIRED_WITHOUT_PIXELS.get(self.text(_SOP_CLASS))
        if required is not None and not required <= self._values.keys():
            raise InvalidInstance("a sequence that its SOP class requires is absent")
        if self._pixels is None:
            if required is None:
                raise InvalidInstance("there are no pixel data")
        elif self._pixels.fragments is None:
            self._check_native(self._pixels)
        elif self._pixels.length == 0 or self._pixels.fragments < self._frames():
            raise InvalidInstance("the compressed pixel data are empty or have fewer fragments than frames")

    def _check_native(self, pixels: _Pixels) -> None:
        bits = {_PIXEL_DATA: self._number(_BITS, 0), 0x7FE00008: 32, 0x7FE00009: 64}[pixels.tag]
        samples = self._number(_SAMPLES, 1)
        if self.text(_PHOTOMETRIC) == "YBR_FULL_422":
            samples = 2  # two chroma samples shared by two pixels
        expected = -(-self._number(_ROWS) * self._number(_COLUMNS) * samples * bits * self._frames() // 8)
        if expected == 0 or pixels.length not in (expected, expected + expected % 2):
            raise InvalidInstance(f"the pixel data have {pixels.length} bytes where {expected} are expected")

    def _number(self, tag: int, default: int | None = None) -> int:
        raw = self._values.get(tag, b"")
        if len(raw) == 2:
            return int.from_bytes(raw, "big" if self._layout is _EXPLICIT_BIG_ENDIAN else "little")
        if default is None:
            raise InvalidInstance("rows, columns or bits allocated are absent")
        return default

    def _frames(self) -> int:
        text = self.text(_FRAMES)
        return int(text) if _COUNT.fullmatch(text) else 1

    def _elements(self, at: int, end: int, depth: int, layout: _Layout, *, delimited: bool) -> int:
        """Check elements up to `end`, or to the delimiter of their item, and return where they end.

        This loop runs some 200 times for every received slice, so it calls nothing for an ordinary element.
        """
        data, unpack, implicit, vr = self._bytes, layout.header.unpack_from, layout.implicit, b""
        while at < end:
            if at + 8 > end:
                raise InvalidInstance("an element is cut off")
            if implicit:
                group, number, length = unpack(data, at)
            else:
                group, number, vr, length = unpack(data, at)
            if not _LAST_GROUP_BEFORE_DATA < group < _FIRST_GROUP_AFTER_DATA:
                return self._end_of_item(at, layout, delimited=delimited)
            start, tag = at + 8, group << 16 | number
            if not implicit:
                is_long = _LENGTH_IS_LONG.get(vr)
                if is_long:
                    length, start = self._long_length(at, end, layout), at + 12
                elif is_long is None:
                    raise InvalidInstance("an element has an unknown value representation")
            if length == _UNDEFINED:
                at = self._undefined(tag, vr, start, end, depth, layout)
                continue
            at = start + length
            if at > end:
                raise InvalidInstance("an element reaches beyond the end of the dataset or of its item")
            if vr == b"SQ" or (implicit and _is_sequence(tag)):
                self._items(start, at, depth + 1, layout, delimited=False)
            if depth == 0 and tag in _MARKED:
                self._keep(tag, start, length)
        if delimited:
            raise InvalidInstance("an item does not end")
        return at

    def _end_of_item(self, at: int, layout: _Layout, *, delimited: bool) -> int:
        """The position after an item delimiter at `at`, where no element can be."""
        group, number, _ = layout.tag_and_length.unpack_from(self._bytes, at)
        if not delimited or group << 16 | number != _ITEM_DELIMITATION:
            raise InvalidInstance("an element has a tag that cannot occur in a dataset")
        return at + 8

    def _long_length(self, at: int, end: int, layout: _Layout) -> int:
        if at + 12 > end:
            raise InvalidInstance("an element is cut off")
        return int(layout.long_length.unpack_from(self._bytes, at + 8)[0])

    def _keep(self, tag: int, start: int, length: int) -> None:
        if tag in _PIXEL_TAGS:
            if self._encapsulated or self._pixels is not None:
                raise InvalidInstance("the pixel data occur twice, or are native in a compressed transfer syntax")
            self._pixels = _Pixels(tag, length, fragments=None)
            return
        if tag in self._values:
            raise InvalidInstance("an identifying element occurs twice")
        self._values[tag] = bytes(self._bytes[start : start + length]) if tag in _WANTED else b""

    def _undefined(self, tag: int, vr: bytes, start: int, end: int, depth: int, layout: _Layout) -> int:
        if tag == _PIXEL_DATA and vr != b"SQ":
            at, pixels = self._fragments(start, end, layout)
            if depth == 0:  # those within sequences are icons
                if self._pixels is not None:
                    raise InvalidInstance("the pixel data occur twice")
                self._pixels = pixels
            return at
        if vr not in (b"", b"SQ", b"UN"):
            raise InvalidInstance("an element that is no sequence has no length")
        # The content of a UN element of undefined length is always implicit little endian (PS3.5 section 6.2.2).
        at = self._items(start, end, depth + 1, _IMPLICIT if vr == b"UN" else layout, delimited=True)
        if depth == 0 and tag in _MARKED:
            self._keep(tag, start, 0)
        return at

    def _tag_and_length(self, at: int, end: int, layout: _Layout) -> tuple[int, int, int]:
        """Tag and length of an item or delimiter, and where its content starts."""
        if at + 8 > end:
            raise InvalidInstance("an item is cut off")
        group, number, length = layout.tag_and_length.unpack_from(self._bytes, at)
        return group << 16 | number, length, at + 8

    def _items(self, at: int, end: int, depth: int, layout: _Layout, *, delimited: bool) -> int:
        """Check the items of a sequence (PS3.5 section 7.5) and return where it ends."""
        if depth > MAXIMUM_NESTING:
            raise InvalidInstance(f"sequences are nested deeper than {MAXIMUM_NESTING}")
        while at < end:
            tag, length, at = self._tag_and_length(at, end, layout)
            if tag == _SEQUENCE_DELIMITATION and delimited:
                return at
            if tag != _ITEM:
                raise InvalidInstance("a sequence holds something that is no item")
            if length == _UNDEFINED:
                at = self._elements(at, end, depth, layout, delimited=True)
            elif length > end - at:
                raise InvalidInstance("an item reaches beyond the end of its sequence")
            else:
                at = self._elements(at, at + length, depth, layout, delimited=False)
        if delimited:
            raise InvalidInstance("a sequence does not end")
        return at

    def _fragments(self, at: int, end: int, layout: _Layout) -> tuple[int, _Pixels]:
        """Sum up the fragments after the offset table (PS3.5 section A.4); also say where they end."""
        if not self._encapsulated:
            raise InvalidInstance("the pixel data are compressed in a native transfer syntax")
        total, items = 0, 0
        while at < end:
            tag, length, at = self._tag_and_length(at, end, layout)
            if tag == _SEQUENCE_DELIMITATION:
                return at, _Pixels(_PIXEL_DATA, total, fragments=max(items - 1, 0))
            if tag != _ITEM or length > end - at:
                raise InvalidInstance("the compressed pixel data are cut off or malformed")
            total += length if items else 0
            items += 1
            at += length
        raise InvalidInstance("the compressed pixel data do not end")


@lru_cache(maxsize=4096)
def _is_sequence(tag: int) -> bool:
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:  # private or unknown
        return False
