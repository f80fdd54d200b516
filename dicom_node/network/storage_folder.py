"""A stand-in PACS: a storage SCP that keeps what it gets in a folder. For demonstrations and tests, not for patients.

It accepts the objects that the node makes and the images they come from, answers Success after the file is durable,
and offers no query and no retrieval.
"""

import hashlib
import re
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import structlog
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    MRImageStorage,
    ParametricMapStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    Verification,
)

from dicom_node.durable_files import make_directory, write_durably
from dicom_node.network.acceptance import TRANSFER_SYNTAXES
from dicom_node.network.addresses import AeAddress
from dicom_node.network.bounded_server import BoundedServer
from dicom_node.network.bounded_sockets import SocketLimits, set_pynetdicom_defaults
from dicom_node.reception.part10 import file_preamble

log = structlog.get_logger()

STORAGE_CLASSES: Final = (
    ParametricMapStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    EncapsulatedPDFStorage,
    CTImageStorage,
)

_CANNOT_UNDERSTAND: Final = 0xC000
_MODALITY: Final = re.compile(r"[A-Z0-9]{2,16}")


class StorageFolder:
    """Listens at `address` and keeps each instance as `<study key>/<modality>-<instance key>.dcm` under `folder`.

    Args:
        folder: Made if absent.
        address: AE title, host and port to listen on. Any called AE title is answered.
    """

    def __init__(self, folder: Path, address: AeAddress) -> None:
        self.folder = folder
        self.address = address
        self._server: BoundedServer | None = None
        make_directory(folder)

    def start(self) -> None:
        """Listen; returns at once.

        Raises:
            OSError: The address cannot be bound.
        """
        set_pynetdicom_defaults()
        entity = AE(self.address.ae_title)
        entity.add_supported_context(Verification)
        for storage_class in STORAGE_CLASSES:
            entity.add_supported_context(storage_class, list(TRANSFER_SYNTAXES))
        limits = SocketLimits()
        entity.maximum_pdu_size = limits.maximum_pdu_bytes
        self._server = entity.make_server(
            self.address.endpoint,
            evt_handlers=[(evt.EVT_C_STORE, self._on_store)],
            server_class=BoundedServer,
            limits=limits,
            maximum_connections=32,
        )
        self._server.start()

    def stop(self) -> None:
        """Stop listening and end what runs."""
        server, self._server = self._server, None
        if server is not None:
            server.stop(grace_s=5.0)

    def instances(self) -> list[Path]:
        """The files kept so far, sorted by path."""
        return sorted(self.folder.glob("*/*.dcm"))

    def _on_store(self, event: Any) -> int:
        encoded = event.encoded_dataset(include_meta=False)
        preamble = file_preamble(
            str(event.request.AffectedSOPClassUID),
            str(event.request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
        )
        try:
            header = dcmread(
                BytesIO(preamble + encoded),
                stop_before_pixels=True,
                specific_tags=["StudyInstanceUID", "SOPInstanceUID", "Modality"],
            )
            study, modality = _key(str(header.StudyInstanceUID)), str(header.get("Modality", ""))
            name = f"{modality if _MODALITY.fullmatch(modality) else 'OT'}-{_key(str(header.SOPInstanceUID))}.dcm"
            make_directory(self.folder / study)
            write_durably(self.folder / study / name, preamble, encoded)
        except Exception as error:  # a peer must get a status whatever it sent
            log.warning("instance_refused", code=type(error).__name__, status=f"0x{_CANNOT_UNDERSTAND:04X}")
            return _CANNOT_UNDERSTAND
        log.info("instance_kept", study=study, name=name)
        return 0x0000


def _key(uid: str) -> str:
    return hashlib.sha256(uid.encode("ascii", "replace")).hexdigest()[:16]
