"""What becomes of each real file that is odd, or in an odd syntax: at the door, and when it is read as a CT.

One table for the tests of the reader and of the receiver. Each outcome was looked at, not only recorded: the reason
stands beside those that may surprise. Paths are relative to the folder of real test data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType


class Reception(StrEnum):
    """What the receiver does with a file that is sent as it says it is."""

    STORED = "stored"
    """Success: a whole instance of a class and syntax that are accepted."""
    REFUSED = "refused"
    """Its context is accepted; its bytes are no whole instance, so it gets a failure status."""
    NO_CONTEXT = "no context"
    """Its SOP class or transfer syntax is not accepted, so it cannot be sent."""
    CANNOT_BE_SENT = "cannot be sent"
    """It names no SOP class or no transfer syntax, so nobody can say what is to be negotiated."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one file."""

    reception: Reception
    is_whole: bool
    """Whether its bytes are a whole instance for the spool, whatever a peer announces."""
    reading: str
    """Code with which `read_ct_series` refuses it alone."""
    reception_when_lossy: Reception | None = None
    """Reception where the site allows loss, if that is another."""
    pixels: str = ""
    """Of a CT: empty if its pixels are read, else the code."""
    pixels_when_lossy: str = ""
    """The same where the site allows loss."""


STORED, REFUSED, NO_CONTEXT, CANNOT_BE_SENT = Reception
LOSSY = "LOSSY_COMPRESSED"
_NOT_CT = Outcome(NO_CONTEXT, True, "NOT_CT")
_NO_PIXELS = Outcome(NO_CONTEXT, False, "NOT_CT")  # a report or plan; of these only structure sets are kept
_NAMELESS = Outcome(CANNOT_BE_SENT, False, "NOT_CT")
_SLICE = Outcome(STORED, True, "TOO_FEW_SLICES")  # a sound CT image; one is no series
_LOSSY_SLICE = Outcome(NO_CONTEXT, True, "TOO_FEW_SLICES", STORED, pixels=LOSSY)
_UNDECODABLE = Outcome(NO_CONTEXT, True, "TOO_FEW_SLICES", pixels=LOSSY, pixels_when_lossy=LOSSY)

_CT = "syntaxes/CTImage.dcm"
_TOTALSEG = "odd/totalseg_emptySOPClass_j2k_Apache2/CT.1.3.12.2.1107.5.1.4.60064.3000002212080811342800001657"

ODD_FILES: Mapping[str, Outcome] = MappingProxyType(
    {
        "nm/NM-MONO2-16-13x-heart.dcm": Outcome(STORED, True, "NOT_CT"),
        "odd/pydicom_MIT/DICOMDIR-empty.dcm": _NAMELESS,
        "odd/pydicom_MIT/ExplVR_BigEndNoMeta.dcm": _NAMELESS,
        "odd/pydicom_MIT/ExplVR_LitEndNoMeta.dcm": _NAMELESS,
        # Under 1.2.840.10008.1.2.4.91, which may lose, of a class that is taken to say why it gives no result.
        "odd/pydicom_MIT/JPEG2000-embedded-sequence-delimiter.dcm": Outcome(NO_CONTEXT, True, "NOT_CT", STORED),
        "odd/pydicom_MIT/JPEG2000.dcm": Outcome(NO_CONTEXT, True, "NOT_CT", STORED),
        "odd/pydicom_MIT/MR_truncated.dcm": Outcome(REFUSED, False, "NOT_CT"),
        "odd/pydicom_MIT/UN_sequence.dcm": _NAMELESS,
        "odd/pydicom_MIT/badVR.dcm": _NO_PIXELS,  # a dose whose pixels are half of what its header says
        "odd/pydicom_MIT/empty_charset_LEI.dcm": _NAMELESS,
        "odd/pydicom_MIT/meta_missing_tsyntax.dcm": _NAMELESS,
        "odd/pydicom_MIT/nested_priv_SQ.dcm": _NAMELESS,
        "odd/pydicom_MIT/no_meta.dcm": _NAMELESS,
        "odd/pydicom_MIT/no_meta_group_length.dcm": _NAMELESS,
        "odd/pydicom_MIT/priv_SQ.dcm": _NAMELESS,
        "odd/pydicom_MIT/reportsi.dcm": _NO_PIXELS,
        "odd/pydicom_MIT/reportsi_with_empty_number_tags.dcm": _NO_PIXELS,
        "odd/pydicom_MIT/rtdose.dcm": _NOT_CT,
        "odd/pydicom_MIT/rtdose_1frame.dcm": _NOT_CT,
        "odd/pydicom_MIT/rtdose_expb.dcm": _NOT_CT,
        "odd/pydicom_MIT/rtdose_expb_1frame.dcm": _NOT_CT,
        "odd/pydicom_MIT/rtdose_rle.dcm": _NOT_CT,
        "odd/pydicom_MIT/rtdose_rle_1frame.dcm": _NOT_CT,
        "odd/pydicom_MIT/rtplan.dcm": _NO_PIXELS,
        "odd/pydicom_MIT/rtplan.dump": _NAMELESS,  # text
        "odd/pydicom_MIT/rtplan_truncated.dcm": _NO_PIXELS,
        # Without file meta information; sent with a syntax of its own it is a whole structure set.
        "odd/pydicom_MIT/rtstruct.dcm": Outcome(CANNOT_BE_SENT, True, "NOT_CT"),
        "odd/pydicom_MIT/rtstruct.dump": _NAMELESS,  # text
        "odd/pydicom_MIT/zipMR.gz": _NAMELESS,
        # SOP Class UID is there and empty: CT images otherwise, which no one may guess.
        **{f"{_TOTALSEG}{number}": _NAMELESS for number in (3, 4, 5, 6)},
        # Blood flow maps of a perfusion scan (Frame Type value 4 RCBF, rescale type US): HU nowhere.
        "pm/eCT_Supplemental.dcm": Outcome(STORED, True, "DERIVED_FRAMES"),
        "pm/legacy_converted_ect_24x38x3.dcm": _SLICE,  # three frames of a CT in HU
        "pm/parametric_map_double_float.dcm": _NOT_CT,
        "pm/parametric_map_float.dcm": _NOT_CT,
        "syntaxes/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": Outcome(NO_CONTEXT, True, "DERIVED_FRAMES", STORED),
        "syntaxes/CT1_J2KR": _SLICE,
        "syntaxes/CT2_J2KR": _SLICE,
        _CT: _SLICE,
        f"{_CT}_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm": _SLICE,
        f"{_CT}_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm": _SLICE,
        f"{_CT}_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm": _SLICE,
        # Read from a file; over a network half a megabyte could inflate to half a gigabyte.
        f"{_CT}_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm": Outcome(
            NO_CONTEXT, False, "TOO_FEW_SLICES"
        ),
        f"{_CT}_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm": _SLICE,
        f"{_CT}_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm": _SLICE,
        f"{_CT}_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm": _SLICE,
        f"{_CT}_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm": _SLICE,
        f"{_CT}_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm": _SLICE,
        # Eight bits: even a site that allows loss gets no HU from them.
        f"{_CT}_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": Outcome(
            NO_CONTEXT, True, "UNREADABLE_INSTANCE", STORED, pixels=LOSSY
        ),
        f"{_CT}_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": _LOSSY_SLICE,
        # No library at hand decodes these two.
        f"{_CT}_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": _UNDECODABLE,
        f"{_CT}_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": _UNDECODABLE,
        f"{_CT}_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": _LOSSY_SLICE,
        f"{_CT}_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": _LOSSY_SLICE,
        "syntaxes/no-pixel-data.dcm": _NO_PIXELS,  # a report
        "syntaxes/no-pixel-spacing.dcm": _NOT_CT,  # ultrasound
    }
)
"""Every file of `syntaxes` and `odd`, and those of `pm` and `nm`."""


def odd_paths(test_data: Path) -> dict[str, Path]:
    """The files that the table is about, by their relative path."""
    found = [path for folder in ("syntaxes", "odd", "pm", "nm") for path in (test_data / folder).rglob("*")]
    return {str(path.relative_to(test_data)): path for path in sorted(found) if path.is_file()}
