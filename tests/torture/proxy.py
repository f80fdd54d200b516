"""A TCP proxy on loopback that does to a connection what networks do: delay, slice, slow down, cut, reset."""

import random
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to the bytes from sender to node."""

    name: str
    latency_s: float = 0.0
    """Before every piece."""
    piece_bytes: int = 65536
    """At most so many at a time."""
    ends_after_bytes: int | None = None
    """Then the connection ends."""
    with_reset: bool = False
    """It ends with a reset on both sides; otherwise both are closed."""
    goes_silent: bool = False
    """It does not end: nothing gets through any more, until the sender gives up."""

    @classmethod
    def at_random(cls, chance: random.Random, size: int) -> Self:
        """Some trouble for a transfer of about `size` bytes."""
        cut = chance.randrange(size)
        return chance.choice(
            (
                cls("cut", ends_after_bytes=cut),
                cls(
                    "cut in small pieces", piece_bytes=chance.choice((7, 100, 1500)), ends_after_bytes=min(cut, 40_000)
                ),
                cls("reset", ends_after_bytes=cut, with_reset=True),
                cls("silence", ends_after_bytes=cut, goes_silent=True),
                cls("latency", latency_s=0.02),
                cls("slices", piece_bytes=chance.choice((100, 500, 1460))),
            )
        )


class Proxy:
    """Forwards one connection to a port of this computer, with trouble."""

    def __init__(self, target_port: int, trouble: Trouble) -> None:
        self._trouble = trouble
        self._target_port = target_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(30.0)

    def _serve(self) -> None:
        try:
            sender, _ = self._listening.accept()
        except OSError:
            return
        with sender, socket.create_connection(("127.0.0.1", self._target_port)) as node, suppress(OSError):
            for tcp in (sender, node):
                tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._forward(sender, node)
            if self._trouble.with_reset:  # one thread reads both, so that closing resets at once
                for tcp in (sender, node):
                    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _forward(self, sender: socket.socket, node: socket.socket) -> None:
        trouble, passed, silent = self._trouble, 0, False
        while True:
            for tcp in select.select((sender, node), (), ())[0]:
                piece = tcp.recv(trouble.piece_bytes if tcp is sender else 65536)
                if not piece:
                    return
                if silent:
                    continue
                if tcp is node:
                    sender.sendall(piece)
                    continue
                time.sleep(trouble.latency_s)
                if trouble.ends_after_bytes is not None and passed + len(piece) > trouble.ends_after_bytes:
                    node.sendall(piece[: trouble.ends_after_bytes - passed])
                    silent = trouble.goes_silent
                    if not silent:
                        return
                    continue
                node.sendall(piece)
                passed += len(piece)
