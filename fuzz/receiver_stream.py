"""Target: what a peer may write into its TCP stream, to a real receiver on loopback.

The first byte of an input chooses what was said before: nothing, an association request, or that and a C-STORE command
whose dataset is the rest of the input. Findings are an error that nobody expected, a connection that is not closed when
its peer has closed it, and a Success for what is not on disk.
"""

import re
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import structlog
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.errors import InvalidInstance
from dicom_node.network.bounded_sockets import SocketLimits
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.reception.encoded_dataset import read_header
from dicom_node.reception.part10 import dataset_offset
from dicom_node.reception.spool import Spool
from fuzz.seeds import association_request, store_request

LIMITS: Final = SocketLimits(maximum_pdu_bytes=1 << 16, maximum_message_bytes=1 << 18, pdu_deadline_s=6.0)
PATIENCE_S: Final = 9.0
"""A connection that its peer has closed must be closed by us well within this."""
SHOWS_EVERY: Final = 64
"""After so many inputs an ordinary C-STORE must still work."""
_SUCCESS_TO_STORE: Final = re.compile(rb"\0\0\x00\x01\x02\0\0\0\x01\x80.{,80}\0\0\x00\x09\x02\0\0\0\0\0", re.DOTALL)
"""Command Field 8001H and Status 0000H, with Message ID and data set type between them (PS3.7 table 9.3-2)."""


class Finding(Exception):
    """Something that must not happen, in one sentence."""


class _Listening:
    """One receiver for all inputs, and what went wrong in its threads."""

    def __init__(self) -> None:
        self.unexpected: list[str] = []
        self.inputs = 0
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-spool-"))
        structlog.configure(processors=[self._note])
        self.previous_hook = threading.excepthook
        threading.excepthook = self._note_thread
        self.spool = Spool(self.folder, minimum_free_mb=1)
        settings = ReceiverSettings("PERFNODE", port=0, association_timeout_s=6.0, idle_timeout_s=6.0, limits=LIMITS)
        self.receiver = Receiver(self.spool, settings)
        self.receiver.start()
        self.threads = threading.active_count()

    def _note(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        """Codes of refusals are documented; the name of a Python error in their place is a finding."""
        code = str(event.get("code", ""))
        if code and not code.isupper():
            self.unexpected.append(f"{event.get('event')}: {code}")
        raise structlog.DropEvent

    def _note_thread(self, hook: threading.ExceptHookArgs) -> None:
        self.unexpected.append(f"{hook.exc_type.__name__} in a thread: {hook.exc_value}")

    def stored(self) -> Iterator[Path]:
        yield from self.spool.incoming.glob("*/*.dcm")

    def clear(self) -> None:
        """Forget what was stored: inputs have the same UIDs, and would refuse each other."""
        for folder in self.spool.incoming.iterdir():
            shutil.rmtree(folder)

    def say(self, *sayings: bytes) -> bytes:
        """Write each and wait for an answer, but after the last one close our side and read until the end.

        Returns:
            What the receiver wrote.
        """
        with socket.socket() as peer:
            peer.settimeout(PATIENCE_S)
            peer.bind((f"127.0.{self.inputs // 250 % 250}.{self.inputs % 250 + 1}", 0))  # ports in TIME_WAIT add up
            peer.connect(("127.0.0.1", self.receiver.port))
            answer = bytearray()
            try:
                for saying in sayings[:-1]:
                    peer.sendall(saying)
                    answer += peer.recv(65536)
                with suppress(OSError):
                    peer.sendall(sayings[-1])
                    peer.shutdown(socket.SHUT_WR)
                while piece := peer.recv(65536):
                    answer += piece
            except ConnectionError:
                pass
            except TimeoutError:
                raise Finding("the receiver keeps a connection open that its peer has closed") from None
        self._require_end()
        return bytes(answer)

    def _require_end(self) -> None:
        """The association's threads must end, too; what they still do must not meet the next input."""
        deadline = time.monotonic() + PATIENCE_S
        while self.receiver.associations or threading.active_count() > self.threads:
            if time.monotonic() > deadline:
                raise Finding(f"threads of an association live on after its end: {threading.enumerate()}")
            time.sleep(0.001)


@cache
def _listening() -> _Listening:
    return _Listening()


def stop() -> None:
    """Stop the receiver, if one was started, and put everything back."""
    if not _listening.cache_info().currsize:
        return
    node = _listening()
    node.receiver.stop(grace_s=1.0)
    threading.excepthook = node.previous_hook
    structlog.reset_defaults()
    shutil.rmtree(node.folder)
    _listening.cache_clear()


def one_input(data: bytes) -> None:
    """Let one peer speak.

    Raises:
        Finding: the receiver did what it must not.
    """
    if not data:
        return
    kind = data[0] % 3
    greeting = [association_request()] if kind else []
    rest = data[1:] if kind < 2 else _store_command() + _as_dataset_pdus(data[1:])
    node = _listening()
    node.inputs += 1
    answer = node.say(*greeting, rest)
    stored = list(node.stored())
    if _SUCCESS_TO_STORE.search(answer) and not stored:
        raise Finding("Success for an instance that is not on disk")
    for path in stored:
        _require_whole(path)
    node.clear()
    if node.inputs % SHOWS_EVERY == 0:
        _require_service(node)
        node.clear()
    if node.unexpected:
        found, node.unexpected = node.unexpected, []
        raise Finding("; ".join(found))


def _require_whole(path: Path) -> None:
    content = path.read_bytes()
    offset, syntax = dataset_offset(content)
    try:
        read_header(content[offset:], syntax)
    except InvalidInstance as fault:
        raise Finding(f"an incomplete instance was kept: {fault}") from fault


def _require_service(node: _Listening) -> None:
    """A good peer still gets Success."""
    from fuzz.seeds import RELEASE, slice_in

    good = store_request(slice_in(ExplicitVRLittleEndian))
    answer = node.say(association_request(), good, RELEASE)
    if not _SUCCESS_TO_STORE.search(answer):
        raise Finding(f"a good C-STORE gets no Success any more: {answer.hex()}")


@cache
def _store_command() -> bytes:
    """The command PDU of a C-STORE-RQ without its dataset."""
    request = store_request(b"\0\0")
    (length,) = struct.unpack_from(">L", request, 2)
    return request[: 6 + length]


def _as_dataset_pdus(dataset: bytes, size: int = 4096) -> bytes:
    """A dataset on context 3, in PDUs."""
    content = b""
    for at in range(0, max(1, len(dataset)), size):
        piece = dataset[at : at + size]
        last = at + size >= len(dataset)
        content += b"\x04\0" + struct.pack(">LLBB", len(piece) + 6, len(piece) + 2, 3, 2 if last else 0) + piece
    return content
