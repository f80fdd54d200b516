"""Which transfer syntaxes a CT may come in, and which of them have lost something.

Facts only, without a decoder: the receiver reads them to know what it may accept, the reader to know what to do.
"""

from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

JPEG_LOSSLESS = (JPEGLossless, JPEGLosslessSV1)
JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
WAVELET = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
"""JPEG 2000 and High-Throughput JPEG 2000: one kind of stream."""

LOSSLESS = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
)
"""Read always. Each is decoded once at every start of the node (`ct_decoders`)."""
FILES_ONLY = (DeflatedExplicitVRLittleEndian,)
"""Read from files as well, never accepted over a network: half a megabyte can inflate to half a gigabyte."""
LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
"""Read only where a site allows loss, and then the result says so. JPEG processes 6, 8, 10 and 12 are not here: no
library at hand decodes them."""
_ALWAYS_LOSSY = tuple(UID(f"1.2.840.10008.1.2.4.{process}") for process in (50, 51, 53, 55))
"""JPEG processes 1, 2 and 4, 6 and 8, 10 and 12 (PS3.5 A.4.1)."""
_PERHAPS_LOSSY = (JPEGLSNearLossless, JPEG2000, HTJ2K)
"""With loss unless Lossy Image Compression (0028,2110) says 00."""
_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}


def transfer_syntax(dataset: Dataset) -> UID | None:
    """Transfer Syntax UID of a dataset with file meta information; None where it is absent."""
    syntax = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    return UID(syntax) if syntax else None


def has_lost(dataset: Dataset) -> bool:
    """Whether pixels went through a compression with loss, by syntax or by Lossy Image Compression.

    PS3.3 C.7.6.1.1.5: once 01, the attribute stays 01 in every later form of the image. A syntax that may lose counts
    as one that did unless the attribute says 00.
    """
    syntax = transfer_syntax(dataset)
    flag = str(dataset.get("LossyImageCompression") or "").strip()
    return syntax in _ALWAYS_LOSSY or flag == "01" or (syntax in _PERHAPS_LOSSY and flag != "00")


def lossy_method(syntax: UID) -> str:
    """Lossy Image Compression Method (0028,2114) of a syntax that loses; empty where it is none (C.7.6.1.1.5.1)."""
    return _METHODS.get(syntax, "")
