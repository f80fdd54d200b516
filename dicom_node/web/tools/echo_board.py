"""Which destinations and peers are there: asked in a few threads of their own, so that no request waits for a peer.

The board is one for the whole page. Who asks for a round joins the one that runs: however many browsers ask, each peer
is called once at a time.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from dicom_node.network.echo import EchoAnswer, answer_of
from dicom_node.network.requestor import Peer
from dicom_node.network.web_peer import DicomwebPeer

LIMIT_S: Final = 15.0
"""How long each part of a call may take; a person waits for it."""
AT_ONCE: Final = 4
NOT_ASKED: Final = "PEER_NOT_ASKED"
"""Code where we could not even ask."""
Called = Peer | DicomwebPeer


class EchoState(StrEnum):
    """How far the question to one peer is."""

    NOT_ASKED = "not asked"
    WAITING = "waiting"
    ASKING = "asking"
    THERE = "there"
    NOT_THERE = "not there"


@dataclass(frozen=True, slots=True)
class EchoLine:
    """One peer on the board."""

    name: str
    role: str
    """`destination` or `peer`."""
    service: str
    """`DICOM` or `DICOMweb`."""
    address: str
    state: EchoState = EchoState.NOT_ASKED
    milliseconds: float | None = None
    code: str = ""
    message: str = ""
    asked_at_s: float = 0.0
    """Unix time of the last answer; 0 if there is none."""

    @property
    def is_open(self) -> bool:
        """Whether its answer is still to come."""
        return self.state in (EchoState.WAITING, EchoState.ASKING)


class EchoBoard:
    """The peers of a site and what they last said.

    Args:
        destinations: of the site.
        peers: of the site.
        ask: how; whoever tests the board may watch.
    """

    def __init__(
        self,
        destinations: Sequence[Called],
        peers: Sequence[Called],
        ask: Callable[[Called, float], EchoAnswer] = answer_of,
    ) -> None:
        self._called = {peer.name: peer for peer in (*destinations, *peers)}
        self._lines = {
            **{peer.name: _line(peer, "destination") for peer in destinations},
            **{peer.name: _line(peer, "peer") for peer in peers},
        }
        self._ask = ask
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="echo")

    def lines(self) -> list[EchoLine]:
        """What is known, destinations first."""
        with self._lock:
            return list(self._lines.values())

    def ask(self, name: str = "") -> list[EchoLine]:
        """Begin to ask one peer, or all; those whose answer is still to come are not asked twice.

        Raises:
            KeyError: the site has no peer of that name.
        """
        with self._lock:
            wanted = [name] if name else list(self._lines)
            new = [known for known in wanted if not self._lines[known].is_open]
            for known in new:
                self._lines[known] = replace(self._lines[known], state=EchoState.WAITING)
        for known in new:
            self._threads.submit(self._one, known)
        return self.lines()

    def close(self) -> None:
        """Ask nobody any more; calls that run come to their end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _one(self, name: str) -> None:
        self._put(name, state=EchoState.ASKING)
        try:
            answer = self._ask(self._called[name], LIMIT_S)
        except Exception as fault:  # whatever a library throws must not leave a line that is never answered
            answer = EchoAnswer(None, NOT_ASKED, f"It could not be asked: {type(fault).__name__}.")
        took_ms = None if answer.seconds is None else 1000.0 * answer.seconds
        state = EchoState.NOT_THERE if answer.seconds is None else EchoState.THERE
        now_s = time.time()
        self._put(name, state=state, milliseconds=took_ms, code=answer.code, message=answer.message, asked_at_s=now_s)

    def _put(self, name: str, **fields: object) -> None:
        with self._lock:
            self._lines[name] = replace(self._lines[name], **fields)  # type: ignore[arg-type]


def _line(peer: Called, role: str) -> EchoLine:
    service = "DICOMweb" if isinstance(peer, DicomwebPeer) else "DICOM"
    return EchoLine(peer.name, role, service, str(peer.address))
