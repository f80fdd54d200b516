"""Storage SCU: objects to a destination, each with the status the peer gave for it.

An object counts as delivered only if the peer said so: status Success, a warning, or "duplicate". No status at all is
not a failure but *unknown*, and the object is sent again with the same UID. Every object is tried even if the peer
refuses another one, since many planning systems take a structure set and refuse a parametric map.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from dicom_node.errors import DeliveryInterrupted, PeerUnreachable, StoreRefused
from dicom_node.network.requestor import Peer, association
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


class _NoStatus(Exception):
    """An object was sent, or was to be, and nothing came back."""


@dataclass(frozen=True, slots=True)
class _Object:
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


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
    with association(destination, _contexts(objects)) as established:
        for item in objects:
            try:
                status = SOP_CLASS_NOT_SUPPORTED if established is None else _store(established, item)
            except _NoStatus as fault:
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
    meta = read_file_meta_info(path)
    return _Object(
        path, str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID)
    )


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


def _store(association: Any, item: _Object) -> int:
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0])) for context in association.accepted_contexts
    }
    as_it_is = (item.sop_class_uid, item.transfer_syntax_uid) in accepted
    can_convert = item.transfer_syntax_uid in _NATIVE and any(
        (item.sop_class_uid, str(syntax)) in accepted for syntax in _NATIVE
    )
    if not as_it_is and not can_convert:
        return SOP_CLASS_NOT_SUPPORTED
    if not association.is_established:
        raise _NoStatus("the association ended before the object was sent")
    response = association.send_c_store(item.path if as_it_is else dcmread(item.path))
    status = response.get("Status")
    if status is None:
        raise _NoStatus("the association ended, or no answer came in time")
    return int(status)


def _raise_if_refused(instances: tuple[InstanceDelivery, ...], destination: Peer) -> None:
    refused = [instance for instance in instances if not instance.is_stored]
    if not refused:
        return
    passing = [instance for instance in refused if not instance.is_permanent]
    worst = (passing or refused)[0]
    statuses = sorted({f"0x{instance.status:04X}" for instance in refused})
    log.warning("objects_refused", destination=destination.name, count=len(refused), statuses=statuses)
    raise StoreRefused(str(destination.address), worst.status, permanent=not passing, instances=instances)
