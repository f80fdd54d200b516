"""Associations that we open: one way to reach a peer for storage, query, retrieval and commitment alike."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom import AE, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node.errors import PeerUnreachable
from dicom_node.network.addresses import AeAddress
from dicom_node.network.bounded_sockets import BoundedAssociationSocket, SocketLimits, set_pynetdicom_defaults
from dicom_node.network.tls import TlsSettings
from dicom_node.reception.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_REJECTED: Final = "rejected: "
Handler = tuple[Any, Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """An application entity that we call, and how long we wait for it."""

    name: str
    """The site's name for it, for instance `pacs`."""
    address: AeAddress
    calling_ae_title: str = "PERFNODE"
    """Our AE title, as the peer must know it."""
    connect_timeout_s: float = 10.0
    association_timeout_s: float = 30.0
    response_timeout_s: float = 120.0
    """From a request's last byte to its answer; a slow archive needs tens of seconds for a large map."""
    tls: TlsSettings | None = None
    """`None`: not encrypted."""


@contextmanager
def association(
    peer: Peer,
    contexts: Sequence[Any],
    *,
    handlers: Sequence[Handler] = (),
    roles: Sequence[Any] = (),
    serves_requests: bool = False,
) -> Iterator[Any]:
    """An established association, or None if the peer answered but refused every context.

    Released at the end, aborted if the body raises.

    Args:
        peer: whom to call.
        contexts: presentation contexts to propose, at most 128.
        handlers: further pynetdicom event handlers.
        roles: role selection items (`pynetdicom.build_role`), for C-GET and for commitment.
        serves_requests: whether the peer may send requests of its own while we wait for none of its answers.

    Raises:
        PeerUnreachable: no association.
    """
    set_pynetdicom_defaults()
    seen: list[str] = []
    limits = SocketLimits()
    host, port = peer.address.endpoint
    try:
        opened = _entity(peer).associate(
            host,
            port,
            list(contexts),
            ae_title=peer.address.ae_title,
            max_pdu=limits.maximum_pdu_bytes,
            ext_neg=list(roles),
            tls_args=None if peer.tls is None else (peer.tls.client_context(), host),
            evt_handlers=[*_own_handlers(limits, seen), *handlers],
        )
    except OSError as error:  # the name does not resolve
        raise PeerUnreachable(str(peer.address), "its host name is not known") from error
    if not opened.is_established:
        if "accepted" in seen and opened.rejected_contexts:
            yield None
            return
        raise PeerUnreachable(str(peer.address), _why_not(seen))
    if not serves_requests:
        _keep_answers_from_reactor(opened)
    tcp = opened.dul.socket
    try:
        yield opened
    except BaseException:
        opened.abort()  # a lost association may still call itself established, and a release would wait in vain
        raise
    else:
        if opened.is_established:
            opened.release()
    finally:
        tcp.close()  # where the peer was gone first, pynetdicom leaves it open


def _entity(peer: Peer) -> Any:
    entity = AE(peer.calling_ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = peer.connect_timeout_s
    entity.acse_timeout = peer.association_timeout_s
    entity.dimse_timeout = peer.response_timeout_s
    entity.network_timeout = peer.response_timeout_s + 30.0
    return entity


def _own_handlers(limits: SocketLimits, seen: list[str]) -> list[Handler]:
    def on_request(event: Any) -> None:
        """Called before the connection is tried, and for every later A-RELEASE and A-ABORT."""
        if isinstance(event.primitive, A_ASSOCIATE):
            BoundedAssociationSocket.bind_limits(event.assoc.dul.socket, limits)

    def on_message(event: Any) -> None:
        event.assoc.dul.socket.message_bytes = 0

    def on_pdu(event: Any) -> None:
        """Called by the thread that reads; what comes at once pynetdicom may take for a failed connection."""
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            seen.append(f"{_REJECTED}{event.pdu.reason_str}")

    return [
        (evt.EVT_ACSE_SENT, on_request),
        (evt.EVT_CONN_OPEN, lambda event: seen.append("open")),
        (evt.EVT_DIMSE_RECV, on_message),
        (evt.EVT_PDU_RECV, on_pdu),
        (evt.EVT_ACCEPTED, lambda event: seen.append("accepted")),
    ]


def _keep_answers_from_reactor(opened: Any) -> None:
    """Let only the sender take messages from the queue.

    pynetdicom pauses its reactor thread while it waits for an answer, but a reactor that had just passed the pausing
    point takes the answer itself, and the sender waits until its time is up. A requestor gets no message that the
    reactor would have to serve, unless it says so.
    """
    take = opened.dimse.get_msg
    opened.dimse.get_msg = lambda block=False: take(block=True) if block else (None, None)


def _why_not(seen: list[str]) -> str:
    if "open" not in seen:
        return "no TCP connection"
    for what in seen:
        if what.startswith(_REJECTED):
            return f"it rejected the association ({what.removeprefix(_REJECTED)})"
    return "it did not answer the association request"
