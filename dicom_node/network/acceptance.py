"""What is accepted from peers and how a refusal is answered: SOP classes, transfer syntaxes, statuses.

More image classes than CT are accepted on purpose: a wrong series is then listed with a reason that a person can read,
and is not a silent line in the sender's log.
"""

from typing import Final

from pydicom.uid import (
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from pynetdicom.sop_class import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.errors import InstanceConflict, InstanceMismatch, InvalidInstance, SpoolError, SpoolFull
from inference.ct.syntaxes import LOSSLESS

STORAGE_CLASSES: Final = (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    RTStructureSetStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    NuclearMedicineImageStorage,
    SecondaryCaptureImageStorage,
)
"""Accepted SOP classes, Verification apart."""

TRANSFER_SYNTAXES: Final = LOSSLESS
"""Accepted transfer syntaxes, best first: those that the reader decodes once at every start. No deflated one: 0.5 MB
can inflate to 512 MB."""

LOSSY_TRANSFER_SYNTAXES: Final = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)
"""Accepted only where the site says so: the HU of such images are not those that were measured."""

SUCCESS: Final = 0x0000
STATUS_BY_ERROR: Final[tuple[tuple[type[Exception], int], ...]] = (
    (SpoolFull, 0xA700),
    (OSError, 0xA700),
    (InstanceMismatch, 0xA900),
    (InstanceConflict, 0xC001),
    (InvalidInstance, 0xC000),
    (SpoolError, 0xA700),
    (Exception, 0xC002),
)
"""C-STORE status by error, the first that fits (PS3.4 table B.2-1: A7xx out of resources, A9xx data set does not match
SOP class, Cxxx cannot understand). A conflict is not answered 0111, which senders take for "is stored"."""
