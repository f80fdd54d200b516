"""Odd real files as somebody sends them: the bytes of each dataset as they stand in the file, and what becomes of them.

`odd_files` says what the door does; here stands what a person sees afterwards in `perfnode cases`, of every file that
gets in. Of several files that are one image under one UID, each goes into a series of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.filereader import read_dataset
from pydicom.uid import UID, CTImageStorage, ImplicitVRLittleEndian, RTStructureSetStorage

from tests.odd_files import Reception

ANSWERS: Final[Mapping[Reception, tuple[int | None, ...]]] = {
    Reception.STORED: (0x0000,),
    Reception.REFUSED: (0xC000,),
    Reception.NO_CONTEXT: (None,),
    # Sent all the same, as what it looks like or else as a CT, in the syntax that needs no words.
    Reception.CANNOT_BE_SENT: (None, 0xC000, 0xA900),
}
"""C-STORE status by what the door does; `None`: the presentation context is refused."""

_TOO_FEW: Final = "TOO_FEW_SLICES"
_KEPT: Final = "STRUCTURES"
_CT: Final = "syntaxes/CTImage.dcm"
_LOSSLESS: Final = (
    "LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2",
    "LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1",
    "BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2",
    "RLELosslessTransferSyntax_1.2.840.10008.1.2.5",
    "JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57",
    "JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70",
    "JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80",
    "JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90",
)
AFTERWARDS: Final[Mapping[str, str]] = {
    "nm/NM-MONO2-16-13x-heart.dcm": "NO_RULE",  # no rule takes nuclear medicine; it is listed and kept for some days
    "odd/pydicom_MIT/rtstruct.dcm": _KEPT,  # names no syntax; in implicit little endian it is whole
    "pm/eCT_Supplemental.dcm": "DERIVED_FRAMES",  # blood flow, not HU
    "pm/legacy_converted_ect_24x38x3.dcm": _TOO_FEW,  # three frames
    "syntaxes/CT1_J2KR": _TOO_FEW,
    "syntaxes/CT2_J2KR": _TOO_FEW,
    _CT: _TOO_FEW,
    **{f"{_CT}_{syntax}.dcm": _TOO_FEW for syntax in _LOSSLESS},
    "rt/dicompyler_breast_BSD3/ct.0.dcm": _TOO_FEW,
    "rt/dicompyler_breast_BSD3/rtss.dcm": _KEPT,
    "rt/mim_rtutils_MIT/ct_1.dcm": "RULE_HOLDS",  # calls itself a phantom: a person decides
    "rt/mim_rtutils_MIT/ct_2.dcm": "RULE_HOLDS",
    "rt/mim_rtutils_MIT/invalid_reference_rt.dcm": _KEPT,  # names a series, of which some images do not exist
    "rt/mim_rtutils_MIT/non_existent_reference_rt.dcm": "NO_REFERENCE",  # names no series
    "rt/mim_rtutils_MIT/rt.dcm": _KEPT,
    "rt/monaco_pymedphys_Apache2/TinyFS_StrctrSets.dcm": _KEPT,
    "rt/monaco_pymedphys_Apache2/example_structures.dcm": _KEPT,
}
"""What becomes of each file that gets Success: the code of the rejected case, of the series that is held or was put
aside, or `STRUCTURES` for a structure set that is kept for its CT."""
REFUSED_RT: Final = ("rt/dicompyler_breast_BSD3/rtplan.dcm",)
"""RT files whose SOP class is not accepted."""


@dataclass(frozen=True, slots=True)
class Sendable:
    """A file taken apart: the bytes of its dataset, and what must be said to send them."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes


def sendable(path: Path) -> Sendable:
    """The dataset exactly as it stands in the file; UIDs and syntax from the file if it says them."""
    content = path.read_bytes()
    parsed = dcmread(BytesIO(content), force=True, stop_before_pixels=True)
    meta = parsed.file_meta
    sop_class = meta.get("MediaStorageSOPClassUID") or parsed.get("SOPClassUID") or CTImageStorage
    instance = meta.get("MediaStorageSOPInstanceUID") or parsed.get("SOPInstanceUID") or "1.2.3.4"
    syntax = meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian
    return Sendable(str(sop_class), str(instance), str(syntax), content[_dataset_start(content) :])


def in_a_series_of_its_own(sent: Sendable, number: int) -> Sendable:
    """The same with other digits at the end of its SOP Instance UID and, of a CT, its Series Instance UID."""
    syntax = UID(sent.transfer_syntax_uid)
    if sent.sop_class_uid not in (CTImageStorage, RTStructureSetStorage) or syntax.is_deflated:
        return sent
    try:
        parsed = read_dataset(
            BytesIO(sent.dataset),
            is_implicit_VR=syntax.is_implicit_VR,
            is_little_endian=syntax.is_little_endian,
            stop_when=lambda tag, vr, length: tag > 0x0020000E,
        )
        series, instance = str(parsed.SeriesInstanceUID), str(parsed.SOPInstanceUID)
    except Exception:  # damaged, and so refused
        return sent
    dataset = sent.dataset
    for old in (instance, series):
        dataset = dataset.replace(_value(old, syntax), _value(_numbered(old, number), syntax))
    return replace(sent, sop_instance_uid=_numbered(instance, number), dataset=dataset)


def _value(uid: str, syntax: UID) -> bytes:
    """As it stands in a dataset, behind its length, so that no longer UID that begins so is meant."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    length = len(value).to_bytes(4 if syntax.is_implicit_VR else 2, "little" if syntax.is_little_endian else "big")
    return length + value


def _numbered(uid: str, number: int) -> str:
    start = uid[:-6]
    return f"{start}{'9' if start.endswith('.') else '.'}{10000 + number}"


def _dataset_start(content: bytes) -> int:
    """Behind preamble and file meta information, where there are such (PS3.10 section 7.1)."""
    if content[128:132] != b"DICM":
        return 0
    at = 132
    while content[at : at + 2] == b"\x02\0":
        long = content[at + 4 : at + 6] in (b"OB", b"UN", b"OW", b"UT", b"SQ")
        size = int.from_bytes(content[at + 8 : at + 12] if long else content[at + 6 : at + 8], "little")
        at += (12 if long else 8) + size
    return at
