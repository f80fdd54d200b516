"""Damaged datasets and names over a sound association: every cut, random changes, UIDs and AE titles that are none."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from pydicom.uid import UID, ExplicitVRLittleEndian

from tests.torture.figures import Figures
from tests.torture.instances import Instance, Ledger, SeriesMaker, small_files
from tests.torture.node import NodeUnderTest
from tests.torture.wire import CT, Association, Context, NotAssociated, p_data, store_command, store_request

ESCAPED: Final = "escaped-from-the-spool"
NASTY_UIDS: Final = (
    b"",
    b" ",
    b"\0",
    b"1.2.3\x001",
    b"..",
    b"../../../../" + ESCAPED.encode(),
    b"/tmp/" + ESCAPED.encode(),
    b"..\\..\\" + ESCAPED.encode(),
    b"1.2/../../" + ESCAPED.encode(),
    b"1" * 65,
    b"1.2." + b"3" * 200,
    b"1" * 5000,
    b"1.2.a",
    b"1,2,3",
    b"1.2.\xc3\xa9",
    "１.２.３".encode(),
    b"1.2.3\n4",
    b"1.2.3\r\nINFO",
    b"%s%s%n",
    b"$(id)",
    b"<script>",
    b"\xff\xff\xff",
    b"CON",
    b"-1.2",
    b"1.2.3\\1.2.4",
)
"""None of them is a UID (PS3.5 section 9.1)."""
NASTY_TITLES: Final = (
    b"",
    b"\0" * 16,
    b"A\nB",
    b'{"a":"b"}',
    b"A\\B",
    b"../../x",
    b"\xff" * 16,
    "Ä".encode(),
    b"\x1b[31mRED",
    b"%n%n",
    b"a\0b",
    b"\x85\x86",
)
"""Calling AE titles that nobody should have (PS3.5 table 6.2-1: no control characters, no backslash)."""
_SHORT_S: Final = 2.0


class Line:
    """An association that is opened again when the node has ended it."""

    def __init__(self, node: NodeUnderTest, syntax: str = ExplicitVRLittleEndian, timeout_s: float = 10.0) -> None:
        self._node = node
        self._context = Context(1, CT, (syntax,))
        self._timeout_s = timeout_s
        self._association: Association | None = None

    def store(self, uid: str | bytes, dataset: bytes) -> int | None:
        """Status of a C-STORE, `None` if the node ended the association instead."""
        if self._association is None:
            self._association = Association.open(self._node.address, (self._context,), timeout_s=self._timeout_s)
        status = self._association.store(uid, dataset)
        if status is None:
            self._association.tcp.close()
            self._association = None
        return status

    def raw(self, content: bytes) -> int | None:
        """The same for bytes as they are; the association is over afterwards."""
        with (
            Association.open(self._node.address, (self._context,), timeout_s=_SHORT_S) as association,
            suppress(OSError),
        ):
            association.tcp.sendall(content)
            return association.response()
        return None

    def end(self) -> None:
        """Release."""
        if self._association is not None:
            self._association.release()
            self._association = None


def every_cut(node: NodeUnderTest, ledger: Ledger, figures: Figures, step: int = 1) -> None:
    """Each of three small files cut at every byte: Success only for the whole one."""
    for syntax, instance in small_files().items():
        line = Line(node, syntax)
        for length in range(0, len(instance.dataset), step):
            if line.store(instance.sop_instance_uid, instance.dataset[:length]) == 0:
                figures.violated(f"Success for a dataset cut off ({syntax.name})")
            figures.fault("byte-cut")
        if not ledger.note(instance, line.store(instance.sop_instance_uid, instance.dataset)):
            figures.violated(f"no Success for the whole dataset ({syntax.name})")
        line.end()
    ledger.verify(node.spool)


def random_changes(node: NodeUnderTest, ledger: Ledger, figures: Figures, chance: random.Random, count: int) -> None:
    """Datasets with bytes flipped, put in or left out: refused, or kept exactly as they were sent."""
    maker, line = SeriesMaker(8, chance), Line(node)
    accepted = 0
    for instance in maker.series(count):
        changed = _changed(instance.dataset, chance)
        sent = Instance(instance.sop_instance_uid, instance.series_instance_uid, changed)
        accepted += ledger.note(sent, line.store(instance.sop_instance_uid, changed))
        figures.fault("bytes changed in a dataset")
    line.end()
    ledger.verify(node.spool)
    figures.add("changed datasets accepted, and kept as sent", accepted, f"of {count}")


def random_framing(node: NodeUnderTest, ledger: Ledger, figures: Figures, chance: random.Random, count: int) -> None:
    """Bytes flipped in command and PDU headers around sound datasets: never another dataset in the spool."""
    line = Line(node)

    def send(instance: Instance) -> None:
        head = p_data(1, 1, store_command(instance.sop_instance_uid))
        whole = store_request(1, instance.sop_instance_uid, instance.dataset)
        around = bytearray(whole[: len(head) + 12])
        around[chance.randrange(len(around))] ^= 1 << chance.randrange(8)
        with suppress(NotAssociated):
            ledger.note(instance, line.raw(bytes(around) + whole[len(around) :]))

    with ThreadPoolExecutor(12) as pool:  # most of the time is spent waiting for an answer that does not come
        list(pool.map(send, SeriesMaker(8, chance).series(count)))
    figures.fault("bits flipped in command or PDU header", count)
    ledger.verify(node.spool)


def _changed(dataset: bytes, chance: random.Random) -> bytes:
    content = bytearray(dataset)
    at = chance.randrange(len(content))
    kind = chance.randrange(5)
    if kind == 0:
        del content[at : at + chance.choice((1, 2, 8))]
    elif kind == 1:
        content[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
    elif kind == 2:
        content += chance.randbytes(chance.choice((1, 2, 8, 200)))
    else:
        for _ in range(chance.choice((1, 1, 3))):
            content[chance.randrange(len(content))] = chance.choice((0, 255, chance.randrange(256)))
    return bytes(content)


def odd_names(node: NodeUnderTest, ledger: Ledger, figures: Figures) -> None:
    """UIDs that are none in all places, and AE titles that are none: refused, and never part of a path."""
    instance = small_files()[ExplicitVRLittleEndian]
    places = (instance.sop_instance_uid, instance.series_instance_uid, "2.25.7", str(UID(CT)))
    line = Line(node)
    for nasty in NASTY_UIDS:
        sent = [(nasty, instance.dataset)]
        sent += [(instance.sop_instance_uid, _with_uid(instance.dataset, place, nasty)) for place in places]
        sent += [(nasty, _with_uid(instance.dataset, instance.sop_instance_uid, nasty))]
        for announced, dataset in sent:
            if line.store(announced, dataset) == 0:
                figures.violated(f"Success for the UID {nasty[:20]!r}")
            figures.fault("UID that is none")
    line.end()
    for title in NASTY_TITLES:
        with (
            suppress(NotAssociated, OSError),
            Association.open(node.address, calling=title, timeout_s=5.0) as association,
        ):
            ledger.note(instance, association.store(instance.sop_instance_uid, instance.dataset))
            association.release()
        figures.fault("AE title that is none")
    ledger.verify(node.spool)
    if any(ESCAPED in path.name for path in node.folder.parent.rglob("*")):
        figures.violated("a UID became a path")


def _with_uid(dataset: bytes, old: str, new: bytes) -> bytes:
    """The dataset with another value for each element that holds exactly this UID (explicit little endian)."""
    old_value = old.encode() + b"\0" * (len(old) % 2)
    new_value = new + b"\0" * (len(new) % 2)
    lengths = [len(value).to_bytes(2, "little") for value in (old_value, new_value)]
    return dataset.replace(b"UI" + lengths[0] + old_value, b"UI" + lengths[1] + new_value)


def lines_that_are_no_events(log: str) -> Sequence[str]:
    """Lines of the node's log that are no JSON: tracebacks, or text that a peer has smuggled in."""
    return [line for line in log.splitlines() if line.strip() and not line.startswith("{")]
