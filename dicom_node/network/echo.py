"""Is a peer there? One question for application entities (C-ECHO) and DICOMweb services alike, and its answer."""

from dataclasses import dataclass, replace

from dicom_node.errors import NodeError
from dicom_node.network import delivery
from dicom_node.network.requestor import Peer
from dicom_node.network.web_peer import DicomwebPeer


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """What became of the question. Holds no patient data."""

    seconds: float | None
    """From the first packet to the answer; None without an answer."""
    code: str = ""
    """Why there is none; empty if the peer is there."""
    message: str = ""


def echo(peer: Peer | DicomwebPeer) -> float:
    """Ask a peer whether it is there, and return how many seconds that took.

    Raises:
        PeerUnreachable: no association or connection, or no answer.
        StoreRefused, QueryRefused: it answered with a failure.
    """
    if isinstance(peer, DicomwebPeer):
        from dicom_node.network import dicomweb  # loads an HTTP library that most sites do not need

        return dicomweb.echo(peer)
    return delivery.echo(peer)


def answer_of(peer: Peer | DicomwebPeer, limit_s: float) -> EchoAnswer:
    """Ask a peer whether it is there; that it is not is an answer.

    Args:
        peer: whom to ask.
        limit_s: for each of its connection, association and answer, where it is allowed longer.
    """
    try:
        return EchoAnswer(echo(_impatient(peer, limit_s)))
    except NodeError as fault:
        return EchoAnswer(None, fault.code, str(fault))


def _impatient(peer: Peer | DicomwebPeer, limit_s: float) -> Peer | DicomwebPeer:
    connect_s, response_s = min(peer.connect_timeout_s, limit_s), min(peer.response_timeout_s, limit_s)
    if isinstance(peer, DicomwebPeer):
        return replace(peer, connect_timeout_s=connect_s, response_timeout_s=response_s)
    association_s = min(peer.association_timeout_s, limit_s)
    return replace(
        peer, connect_timeout_s=connect_s, association_timeout_s=association_s, response_timeout_s=response_s
    )
