"""Transfers that break off in every way, and receivers that die in mid-transfer.

After each fault: what was acknowledged is on disk as it was sent, a C-ECHO is answered within ten seconds, and the same
series sent again is accepted as a whole.
"""

import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from dicom_node.network.addresses import AeAddress
from tests.torture.figures import Figures
from tests.torture.instances import Instance, Ledger, SeriesMaker
from tests.torture.node import NodeUnderTest
from tests.torture.proxy import Proxy, Trouble
from tests.torture.wire import Association, NotAssociated

ECHO_LIMIT_S: Final = 10.0
_SLICES: Final = 12
_SIDE: Final = 64
_ASSOCIATION_BYTES: Final = 300


@dataclass(slots=True)
class Chaos:
    """One fault after the other."""

    node: NodeUnderTest
    ledger: Ledger
    figures: Figures
    chance: random.Random
    kills_in_100: int = 20
    longest_recovery_s: float = 0.0
    _maker: SeriesMaker = field(init=False)

    def __post_init__(self) -> None:
        self._maker = SeriesMaker(_SIDE, self.chance)

    def run(self, seconds: float, faults: int) -> None:
        """Until the time is over or so many faults were injected."""
        end, target = time.monotonic() + seconds, self.figures.injected + faults
        while time.monotonic() < end and self.figures.injected < target:
            series = self._maker.series(_SLICES)
            kind = self.chance.randrange(100)
            if kind < self.kills_in_100 and self.node.is_complete():
                self._kill(series)
            elif kind < self.kills_in_100 + 10:
                self._twice_at_once(series)
            else:
                self._trouble(series)
            self._require_recovery(series)
        self.figures.add("longest time until C-ECHO was answered after a fault, s", self.longest_recovery_s,
                         f"< {ECHO_LIMIT_S:g}", kept=self.longest_recovery_s < ECHO_LIMIT_S, is_time=True)  # fmt: skip

    def _send(self, series: list[Instance], address: AeAddress, timeout_s: float = 3.0) -> int:
        """Send a series as far as it goes; how many got Success."""
        stored = 0
        with suppress(NotAssociated, OSError), Association.open(address, timeout_s=timeout_s) as association:
            for instance in series:
                self.ledger.sent.add(instance.sha256)  # it may be kept although the answer is lost
                status = association.store(instance.sop_instance_uid, instance.dataset)
                if status is None:
                    return stored
                stored += self.ledger.note(instance, status)
            association.release()
        return stored

    def _trouble(self, series: list[Instance]) -> None:
        size = _ASSOCIATION_BYTES + sum(len(instance.dataset) + 300 for instance in series)
        trouble = Trouble.at_random(self.chance, size)
        with Proxy(self.node.address.port, trouble) as proxy:
            self._send(series, AeAddress(self.node.address.ae_title, "127.0.0.1", proxy.port), timeout_s=1.5)
        self.figures.fault(f"network: {trouble.name}")

    def _kill(self, series: list[Instance]) -> None:
        """kill -9 of a receiving process while two senders are at work."""
        other = self._maker.series(_SLICES)
        senders = [threading.Thread(target=self._send, args=(s, self.node.address)) for s in (series, other)]
        for sender in senders:
            sender.start()
        time.sleep(self.chance.uniform(0.0, 0.08))
        self.node.kill_receiver(self.chance.randrange(8))
        for sender in senders:
            sender.join()
        self.figures.fault("kill -9 of a receiver in mid-transfer")
        self._require_recovery(other, clear=False)

    def _twice_at_once(self, series: list[Instance]) -> None:
        """The same series on two associations at the same time, and once more with other pixels: never mixed."""
        forged = [
            Instance(i.sop_instance_uid, i.series_instance_uid, i.dataset[:-16] + self.chance.randbytes(16))
            for i in series
        ]
        senders = [threading.Thread(target=self._send, args=(s, self.node.address)) for s in (series, series)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        acknowledged = dict(self.ledger.acknowledged)
        if any(self._send([instance], self.node.address) for instance in forged):
            self.figures.violated("Success for other content under a known UID")
            self.ledger.acknowledged = acknowledged
        self.figures.fault("same instances twice at once, then with other content")

    def _require_recovery(self, series: list[Instance], *, clear: bool = True) -> None:
        waited_s = self.node.seconds_until_echo(3 * ECHO_LIMIT_S)
        if waited_s is None:
            raise RuntimeError(f"the node answers no C-ECHO after a fault:\n{self.node.log[-3000:]}")
        self.longest_recovery_s = max(self.longest_recovery_s, waited_s)
        self.ledger.verify(self.node.spool)
        stored = self._send(series, self.node.address, timeout_s=20.0)
        if stored != len(series):
            self.figures.violated(f"a series sent again was accepted in part only ({stored} of {len(series)})")
        self.ledger.verify(self.node.spool)
        if clear:
            self.ledger.clear(self.node.spool)
