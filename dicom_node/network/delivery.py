"""Storage SCU: objects to a destination, each with the status the peer gave for it.

An object counts as delivered only if the peer said so: status Success, a warning, or "duplicate". No status at all is
not a failure but *unknown*, and the object is sent again with the same UID. Every object is tried even if the peer
refuses another one, since many planning systems take a structure set and refuse a parametric map.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import structlog
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, dsutils
from pynetdicom.sop_class import Verification

from dicom_node.errors import DeliveryInterrupted, PeerUnreachable, StoreRefused
from dicom_node.network.requestor import Peer, association
from dicom_node.network.store_link import NoAnswer, StoreLink, store_link
from dicom_node.network.verification_mode import Verify

log = structlog.get_logger()

SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
"""PS3.7 annex C.5.6; used here also for an object whose presentation context the peer refused."""

_MAXIMUM_CONTEXTS: Final = 128
"""Presentation context identifiers are the odd numbers of one byte (PS3.8 section 9.3.2.2)."""
_NATIVE: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_PERMANENT_STATUSES: Final = frozenset({0x0105, 0x0106, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212})
_DUPLICATE: Final = 0x0111


@dataclass(frozen=True, slots=True)
class Destination(Peer):
    """Where objects are delivered."""

    verify: Verify = Verify.AUTO


@dataclass(frozen=True, slots=True)
class InstanceDelivery:
    """What the peer said about one object."""

    sop_class_uid: str
    sop_instance_uid: str
    status: int
    """DIMSE status (PS3.4 table B.2-1, PS3.7 annex C)."""

    @property
    def is_stored(self) -> bool:
        """Success, a warning (Bxxx), or a duplicate of what the peer has already."""
        return self.status in (0x0000, _DUPLICATE) or self.status >> 12 == 0xB

    @property
    def is_warning(self) -> bool:
        """Stored, but not as it was sent, or not for the first time."""
        return self.is_stored and self.status != 0x0000

    @property
    def is_permanent(self) -> bool:
        """A refusal that sending again cannot change: A9xx, Cxxx, and the statuses about class and authorisation."""
        return self.status >> 8 == 0xA9 or self.is_doubtful or self.status in _PERMANENT_STATUSES

    @property
    def is_doubtful(self) -> bool:
        """A refusal for good by the standard that peers give for passing troubles, too: Cxxx, "cannot understand".

        dcmtk and pynetdicom answer so when a handler fails for any reason, a full disk or a locked database included.
        """
        return self.status >> 12 == 0xC


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """All objects of one delivery, in the order they were sent."""

    destination: str
    instances: tuple[InstanceDelivery, ...]


@dataclass(frozen=True, slots=True)
class _Object:
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset_offset: int


def send(
    paths: Sequence[Path],
    destination: Peer,
    progress: Callable[[InstanceDelivery], None] | None = None,
) -> DeliveryReport:
    """Send DICOM files over one association.

    Files go in their own transfer syntax, read in pieces from disk. Only a native file whose syntax the peer refuses is
    converted between implicit and explicit VR little endian.

    Args:
        paths: DICOM files (PS3.10), at least one.
        destination: Where to.
        progress: Called after each object.

    Raises:
        PeerUnreachable: No association.
        DeliveryInterrupted: An object got no status; its `instances` are those before it, which did.
        StoreRefused: At least one object was refused, after all were tried. It is permanent if no refusal is of a kind
            that passes; its `instances` say what became of each object.
    """
    objects = [_object(path) for path in paths]
    done: list[InstanceDelivery] = []
    with association(destination, _contexts(objects)) as established, _link(established, destination) as link:
        accepted = {} if established is None else _accepted(established)
        for item in objects:
            try:
                status = SOP_CLASS_NOT_SUPPORTED if link is None else _store(link, accepted, item)
            except NoAnswer as fault:
                raise DeliveryInterrupted(str(destination.address), str(fault), instances=tuple(done)) from fault
            done.append(InstanceDelivery(item.sop_class_uid, item.sop_instance_uid, status))
            if progress is not None:
                progress(done[-1])
    _raise_if_refused(tuple(done), destination)
    return DeliveryReport(destination.name, tuple(done))


def echo(destination: Peer) -> float:
    """Ask the peer whether it is there (C-ECHO) and return how many seconds association and answer took.

    Raises:
        PeerUnreachable: No association, or no answer.
        StoreRefused: It does not support Verification, or answered with a failure.
    """
    started = time.monotonic()
    with association(destination, [build_context(Verification)]) as established:
        if established is None:
            raise StoreRefused(str(destination.address), SOP_CLASS_NOT_SUPPORTED, permanent=True)
        status = established.send_c_echo().get("Status")
    if status is None:
        raise PeerUnreachable(str(destination.address), "it did not answer the echo request")
    if status != 0x0000:
        raise StoreRefused(str(destination.address), status, permanent=False)
    return time.monotonic() - started


def _object(path: Path) -> _Object:
    meta, offset = dsutils.split_dataset(path)
    sop_class, instance = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
    return _Object(path, sop_class, instance, str(meta.TransferSyntaxUID), offset)


def proposed_contexts(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Abstract and transfer syntax of every presentation context that `send` proposes for these files."""
    return _syntaxes([_object(path) for path in paths])


def _contexts(objects: Sequence[_Object]) -> list[Any]:
    return [build_context(sop_class, syntax) for sop_class, syntax in _syntaxes(objects)]


def _syntaxes(objects: Sequence[_Object]) -> list[tuple[str, str]]:
    """One context per SOP class and syntax of its files, and the other native syntax to fall back to."""
    if not objects:
        raise ValueError("there is nothing to send")
    wanted: dict[tuple[str, str], None] = {}
    for item in objects:
        wanted[item.sop_class_uid, item.transfer_syntax_uid] = None
    for item in objects:
        if item.transfer_syntax_uid in _NATIVE:
            wanted.update({(item.sop_class_uid, str(syntax)): None for syntax in _NATIVE})
    return list(wanted)[:_MAXIMUM_CONTEXTS]


def _link(established: Any, destination: Peer) -> AbstractContextManager[StoreLink | None]:
    return nullcontext() if established is None else store_link(established, destination.response_timeout_s)


def _accepted(association: Any) -> dict[tuple[str, str], int]:
    """The context that was accepted for an abstract and a transfer syntax."""
    contexts = association.accepted_contexts
    return {(str(c.abstract_syntax), str(c.transfer_syntax[0])): c.context_id for c in contexts}


def _store(link: StoreLink, accepted: Mapping[tuple[str, str], int], item: _Object) -> int:
    syntaxes = [item.transfer_syntax_uid]
    if item.transfer_syntax_uid in _NATIVE:
        syntaxes += map(str, _NATIVE)
    for syntax in syntaxes:
        context_id = accepted.get((item.sop_class_uid, syntax))
        if context_id is not None:
            with _content(item, syntax) as (content, length):
                return link.store(context_id, item.sop_class_uid, item.sop_instance_uid, content, length)
    return SOP_CLASS_NOT_SUPPORTED


@contextmanager
def _content(item: _Object, syntax: str) -> Iterator[tuple[BinaryIO, int]]:
    """The dataset of an object in a syntax, and its length in bytes."""
    if syntax == item.transfer_syntax_uid:
        with item.path.open("rb", buffering=0) as file:
            file.seek(item.dataset_offset)
            yield file, os.fstat(file.fileno()).st_size - item.dataset_offset
        return
    converted = DicomBytesIO()
    converted.is_implicit_VR, converted.is_little_endian = syntax == ImplicitVRLittleEndian, True
    write_dataset(converted, dcmread(item.path))
    encoded = converted.getvalue()
    yield BytesIO(encoded), len(encoded)


def _raise_if_refused(instances: tuple[InstanceDelivery, ...], destination: Peer) -> None:
    refused = [instance for instance in instances if not instance.is_stored]
    if not refused:
        return
    passing = [instance for instance in refused if not instance.is_permanent]
    worst = (passing or refused)[0]
    statuses = sorted({f"0x{instance.status:04X}" for instance in refused})
    log.warning("objects_refused", destination=destination.name, count=len(refused), statuses=statuses)
    raise StoreRefused(str(destination.address), worst.status, permanent=not passing, instances=instances)
