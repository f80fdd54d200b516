"""Hundreds of hostile peers in one process.

    python -m tests.torture.hostile PORT TLS_PORT SOCKETS PER_SECOND SECONDS SEED

Each of `SOCKETS` tasks plays one kind of peer after the other, from an address of its own in 127.0.0.0/8. Most of what
they do is to keep the receiver waiting; new connections are limited in number per second, because what is measured is
what the receiver makes of them, not who gets the processor. Prints how often each kind was played, as JSON.
"""

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.torture.wire import (
    ABORT,
    CT,
    EXPLICIT,
    RELEASE_RQ,
    STORAGE_COMMITMENT,
    VERIFICATION,
    Context,
    association_request,
    command,
    echo_request,
    event_report,
    number,
    p_data,
    pdu,
    store_command,
    store_request,
)

PATIENCE_S = 20.0
"""How long a peer keeps a connection that the node does not end."""
_STREAM_BYTES_PER_S = 500_000
_LONGEST_MESSAGE = 8 << 20
_GATHERING_S = 4.0
"""In the beginning all connect within this; later only so many per second as told."""


@dataclass
class Wire:
    """One connection of a hostile peer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    chance: random.Random

    async def say(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def associate(self, contexts: tuple[Context, ...] = (Context(1, CT),), calling: bytes = b"HOSTILE") -> None:
        await self.say(association_request(calling, contexts=contexts))
        await self.answer()

    async def answer(self) -> bytes:
        """One PDU of the node."""
        head = await self.reader.readexactly(6)
        return head + await self.reader.readexactly(struct.unpack(">BxL", head)[1])

    async def hold(self, seconds: float = PATIENCE_S) -> None:
        """Keep the connection until the node ends it, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self.reader.read(65536):
                    pass

    def reset(self) -> None:
        tcp = self.writer.get_extra_info("socket")
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Kind = Callable[[Wire], Awaitable[None]]


async def silent(wire: Wire) -> None:
    await wire.hold()


async def one_byte(wire: Wire) -> None:
    await wire.say(b"\x01")
    await wire.hold()


async def a_byte_a_second(wire: Wire) -> None:
    for byte in association_request()[: int(PATIENCE_S)]:
        await wire.say(bytes([byte]))
        await asyncio.sleep(1.0)


async def half_a_request(wire: Wire) -> None:
    request = association_request()
    await wire.say(request[: wire.chance.randrange(6, len(request))])
    await wire.hold()


async def stalled_in_data(wire: Wire) -> None:
    await wire.associate()
    await wire.say(pdu(4, b"\0" * 100, declared_bytes=16000))
    await wire.hold()


async def stalled_between_pdus(wire: Wire) -> None:
    await wire.associate()
    await wire.say(p_data(1, 1, store_command("1.2.3.4")))
    await wire.hold()


async def four_gibibytes(wire: Wire) -> None:
    await wire.say(pdu(wire.chance.choice((1, 4, 5, 7)), b"\0" * 4096, declared_bytes=0xFFFFFFF0))
    await wire.hold()


async def four_gibibytes_of_data(wire: Wire) -> None:
    await wire.associate()
    await wire.say(pdu(4, b"\0" * 4096, declared_bytes=0xFFFFFFF0))
    await wire.hold()


async def http(wire: Wire) -> None:
    await wire.say(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
    await wire.hold()


async def tls_hello(wire: Wire) -> None:
    await wire.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + wire.chance.randbytes(507))
    await wire.hold()


async def noise(wire: Wire) -> None:
    await wire.say(wire.chance.randbytes(wire.chance.randrange(1, 2000)))
    await wire.hold(5.0)


async def never_last(wire: Wire) -> None:
    """A dataset without end, at a speed that leaves the processor to others."""
    await wire.associate()
    await wire.say(p_data(1, 1, store_command("1.2.3.4")))
    fragment = pdu(4, struct.pack(">LBB", 65002, 1, 0) + b"\0" * 65000)
    for _ in range(_LONGEST_MESSAGE // len(fragment)):
        await wire.say(fragment)
        await asyncio.sleep(len(fragment) / _STREAM_BYTES_PER_S)
    await wire.hold()


async def endless_command(wire: Wire) -> None:
    await wire.associate()
    fragment = pdu(4, struct.pack(">LBB", 16002, 1, 1) + b"\0" * 16000)
    for _ in range(200):
        await wire.say(fragment)
        await asyncio.sleep(0.1)
    await wire.hold()


async def pipelined_stores(wire: Wire) -> None:
    await wire.associate()
    await wire.say(b"".join(store_request(1, f"1.2.3.{n}", b"\0" * 2000, n) for n in range(1, 20)))
    await wire.hold(5.0)


async def pipelined_from_the_start(wire: Wire) -> None:
    await wire.say(association_request(b"HOSTILE") + store_request(1, "1.2.3", b"\0" * 200) + RELEASE_RQ)
    await wire.hold(5.0)


async def connect_and_close(wire: Wire) -> None:
    return


async def associate_and_close(wire: Wire) -> None:
    await wire.associate((Context(1, VERIFICATION),))


async def association_that_stays(wire: Wire) -> None:
    await wire.associate((Context(1, VERIFICATION),))
    await wire.hold()


async def malformed_values(wire: Wire) -> None:
    await wire.associate()
    unknown_field = command((0x0100, number(0x7777)), (0x0110, number(1)), (0x0800, number(0x101)))
    await wire.say(
        wire.chance.choice(
            (
                pdu(4, struct.pack(">LB", 1, 1)),
                pdu(4, struct.pack(">L", 0)),
                pdu(4, struct.pack(">LBB", 0xFFFFFF, 1, 3) + b"\0" * 4),
                pdu(4, b""),
                p_data(1, 1, b"\xff" * 8),
                p_data(1, 1, wire.chance.randbytes(60)),
                p_data(1, 1, unknown_field),
                p_data(1, 1, command()),
                p_data(99, 1, store_command("1.2.3")),
                p_data(2, 1, store_command("1.2.3")),
                p_data(1, 0, b"dataset before any command"),
                pdu(9, b"abcd"),
                pdu(2, b"\0" * 68),
                pdu(3, b"\0\1\1\1"),
                association_request(b"AGAIN"),
            )
        )
    )
    await wire.hold(5.0)


async def release_and_store(wire: Wire) -> None:
    await wire.associate()
    await wire.say(RELEASE_RQ + store_request(1, "1.2.3", b"\0" * 2000))
    await wire.hold(5.0)


async def store_and_release_at_once(wire: Wire) -> None:
    await wire.associate()
    await wire.say(store_request(1, "1.2.3", b"\0" * 2000) + RELEASE_RQ)
    await wire.hold(5.0)


async def abort_in_dataset(wire: Wire) -> None:
    await wire.associate()
    request = store_request(1, "1.2.3", b"\0" * 20000)
    await wire.say(request[: wire.chance.randrange(100, len(request))] if wire.chance.random() < 0.5 else request[:-9])
    await wire.say(ABORT)


async def reset_in_dataset(wire: Wire) -> None:
    await wire.associate()
    await wire.say(store_request(1, "1.2.3", b"\0" * 20000)[:-500])
    wire.reset()


async def event_reports(wire: Wire) -> None:
    await wire.associate((Context(1, STORAGE_COMMITMENT), Context(3, VERIFICATION)))
    for number_ in range(1, 50):
        await wire.say(event_report(1, number_))
    await wire.hold(5.0)


async def unknown_classes(wire: Wire) -> None:
    contexts = tuple(Context(2 * n + 1, f"1.2.840.10008.5.1.4.1.1.{wire.chance.randrange(9999)}") for n in range(20))
    await wire.associate(contexts)
    await wire.say(p_data(1, 1, store_command("1.2.3", "1.2.840.10008.5.1.4.1.1.7777")))
    await wire.hold(5.0)


async def too_many_contexts(wire: Wire) -> None:
    count = wire.chance.choice((128, 129, 300))
    await wire.associate(tuple(Context((2 * n + 1) % 256, CT, (EXPLICIT,)) for n in range(count)))
    await wire.say(echo_request(1))
    await wire.hold(5.0)


async def equal_context_ids(wire: Wire) -> None:
    await wire.associate((Context(1, CT), Context(1, VERIFICATION), Context(2, CT), Context(0, CT)))
    await wire.say(echo_request(1))
    await wire.hold(5.0)


async def wrong_titles(wire: Wire) -> None:
    called = wire.chance.choice(
        (b"OTHER", b"\0" * 16, b" " * 16, b"../../etc", b"\xff\xfe", b"perfnode", "ÄÖÜ".encode())
    )
    await wire.say(association_request(wire.chance.choice((b"X", b"\0", b"\\", b"\xff" * 16)), called))
    await wire.hold(5.0)


KINDS: dict[str, Kind] = {
    function.__name__: function
    for function in (
        silent, one_byte, a_byte_a_second, half_a_request, stalled_in_data, stalled_between_pdus, four_gibibytes,
        four_gibibytes_of_data, http, tls_hello, noise, endless_command, pipelined_stores, pipelined_from_the_start,
        connect_and_close, associate_and_close, association_that_stays, malformed_values, release_and_store,
        store_and_release_at_once, abort_in_dataset, reset_in_dataset, event_reports, unknown_classes,
        too_many_contexts, equal_context_ids, wrong_titles,
    )
}  # fmt: skip
TLS_KINDS: dict[str, Kind] = {
    f"{function.__name__}_on_tls_port": function
    for function in (silent, one_byte, half_a_request, pipelined_from_the_start, http, tls_hello, connect_and_close)
}


class Crowd:
    """All hostile peers."""

    def __init__(self, port: int, tls_port: int, sockets: int, per_second: float, seconds: float, seed: int) -> None:
        self.ports = dict.fromkeys(KINDS, port) | (dict.fromkeys(TLS_KINDS, tls_port) if tls_port else {})
        self.kinds = {**KINDS, **TLS_KINDS}
        self.played: Counter[str] = Counter()
        self._start = self._next = time.monotonic()
        self._sockets = sockets
        self._gap_s = 1.0 / per_second
        self._end = time.monotonic() + seconds
        self._chance = random.Random(seed)

    async def run(self) -> None:
        """Play until the time is over; what is still open then is closed."""
        tasks = [asyncio.create_task(self._peer(k)) for k in range(self._sockets)]
        tasks += [asyncio.create_task(self._peer(self._sockets + k, "never_last")) for k in range(2)]
        await asyncio.sleep(max(0.0, self._end - time.monotonic()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _peer(self, number_: int, only: str = "") -> None:
        chance = random.Random(self._chance.random())
        names = sorted(self.ports)
        while time.monotonic() < self._end:
            name = only or names[chance.randrange(len(names))]
            await self._turn()
            await self._play(number_, name, chance)

    async def _turn(self) -> None:
        gathering = time.monotonic() < self._start + _GATHERING_S
        gap_s = min(self._gap_s, _GATHERING_S / self._sockets) if gathering else self._gap_s
        self._next = max(self._next + gap_s, time.monotonic() - 1.0)
        await asyncio.sleep(max(0.0, self._next - time.monotonic()))

    async def _play(self, number_: int, name: str, chance: random.Random) -> None:
        source = (f"127.0.{1 + number_ // 250}.{1 + number_ % 250}", 0)
        kind = never_last if name == "never_last" else self.kinds[name]
        port = self.ports.get(name, self.ports["silent"])
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
                self.played[name] += 1
                try:
                    await kind(Wire(reader, writer, chance))
                finally:
                    writer.transport.abort()
        except (OSError, EOFError, TimeoutError):  # the node had enough, which is what is wanted
            pass


def main(arguments: list[str]) -> None:
    """Play, and say what was played."""
    port, tls_port, sockets, per_second, seconds, seed = map(float, arguments)
    crowd = Crowd(int(port), int(tls_port), int(sockets), per_second, seconds, int(seed))
    asyncio.run(crowd.run())
    print(json.dumps(crowd.played))


if __name__ == "__main__":
    main(sys.argv[1:])
