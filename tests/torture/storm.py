"""A good sender alone and beside hundreds of hostile peers, in turn: what does it still get?"""

import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.torture.figures import Figures
from tests.torture.instances import Ledger, SeriesMaker
from tests.torture.node import NodeUnderTest, without_priority
from tests.torture.wire import Association, NotAssociated

KEPT_SHARE: Final = 0.8
ECHO_LIMIT_S: Final = 1.0
GROWTH_LIMIT_MB: Final = 50.0
SETTLING_S: Final = 90.0
"""Idle associations are ended by the node within this."""
_SLICES: Final = 40
_SIDE: Final = 256


@dataclass(slots=True)
class Readings:
    """What was seen in calm or in storm."""

    images_per_s: list[float] = field(default_factory=list)
    echo_s: list[float] = field(default_factory=list)
    echoes_failed: int = 0
    rss_mb: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Images per second, typical."""
        return statistics.median(self.images_per_s) if self.images_per_s else 0.0

    def add(self, other: "Readings") -> None:
        """Put two together."""
        self.images_per_s += other.images_per_s
        self.echo_s += other.echo_s
        self.echoes_failed += other.echoes_failed
        self.rss_mb += other.rss_mb


@dataclass(frozen=True, slots=True)
class Turns:
    """How long each part of a turn takes."""

    calm_s: float = 6.0
    gathering_s: float = 5.0
    """So long the hostile peers connect before the sender is measured."""
    storm_s: float = 15.0


@dataclass(slots=True)
class Storm:
    """The measurement."""

    node: NodeUnderTest
    ledger: Ledger
    figures: Figures
    sockets: int
    per_second: float
    seed: int
    tls_node: NodeUnderTest | None = None
    turns: Turns = field(default_factory=Turns)
    calm: Readings = field(default_factory=Readings)
    rough: Readings = field(default_factory=Readings)
    tls_echo_s: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    """Speed beside hostile peers over the speed just before and after, because other work slows both down."""

    def run(self, seconds: float) -> None:
        """Calm and storm in turn until the time is over; then the figures."""
        maker = SeriesMaker(_SIDE, random.Random(self.seed))
        self._measure(maker, 3.0)  # whatever is slow only the first time
        before = self.node.load()
        end = time.monotonic() + seconds
        turns = self.turns
        alone = self._measure(maker, turns.calm_s)
        while not self.shares or time.monotonic() + turns.gathering_s + turns.storm_s + turns.calm_s < end:
            with self._hostile(turns.gathering_s + turns.storm_s):
                time.sleep(turns.gathering_s)
                beside = self._measure(maker, turns.storm_s, watch_tls=True)
            self.calm.add(alone)
            self.rough.add(beside)
            before_it, alone = alone, self._measure(maker, turns.calm_s)
            around = statistics.fmean((before_it.speed, alone.speed))
            self.shares.append(beside.speed / around)
        self._report(before.rss_mb)
        self._require_baseline(before.threads, before.descriptors)

    @contextmanager
    def _hostile(self, seconds: float) -> Iterator[None]:
        tls_port = self.tls_node.address.port if self.tls_node else 0
        arguments = (self.node.address.port, tls_port, self.sockets, self.per_second, seconds, self.seed)
        command = [sys.executable, "-m", "tests.torture.hostile", *map(str, arguments)]
        crowd = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=without_priority)
        try:
            yield
            output, _ = crowd.communicate(timeout=60)
        finally:
            crowd.kill()
            crowd.wait()
        for kind, count in json.loads(output).items():
            self.figures.fault(f"hostile peer {kind}", count)

    def _measure(self, maker: SeriesMaker, seconds: float, *, watch_tls: bool = False) -> Readings:
        readings, over = Readings(), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(readings, over, watch_tls))
        watcher.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self._send_round(maker, readings)
        finally:
            over.set()
            watcher.join()
        return readings

    def _send_round(self, maker: SeriesMaker, readings: Readings) -> None:
        series = maker.series(_SLICES)
        started = time.monotonic()
        try:
            with Association.open(self.node.address) as association:
                stored = sum(self.ledger.note(i, association.store(i.sop_instance_uid, i.dataset)) for i in series)
                released = association.release()
        except NotAssociated as fault:
            self.figures.violated(f"a good sender got no association: {fault}")
            time.sleep(0.5)
            return
        readings.images_per_s.append(stored / (time.monotonic() - started))
        if stored != _SLICES or not released:
            self.figures.violated("a good sender was refused or cut off")
        self.ledger.verify(self.node.spool)
        self.ledger.clear(self.node.spool)

    def _watch(self, readings: Readings, over: threading.Event, watch_tls: bool) -> None:
        while not over.wait(0.2):
            seconds = self.node.echo_s()
            if seconds is None:
                readings.echoes_failed += 1
            else:
                readings.echo_s.append(seconds)
            readings.rss_mb.append(self.node.load().rss_mb)
            if watch_tls and self.tls_node is not None:
                tls_s = self.tls_node.echo_s()
                self.tls_echo_s.append(tls_s if tls_s is not None else float("inf"))

    def _report(self, rss_before_mb: float) -> None:
        add = self.figures.add
        share = statistics.median(self.shares)
        add("good sender alone, images/s", self.calm.speed)
        add(f"good sender beside {self.sockets} hostile peers, images/s", self.rough.speed)
        add(f"share of its speed, median of {len(self.shares)}", share, f">= {KEPT_SHARE}", kept=share >= KEPT_SHARE,
            is_time=True)  # fmt: skip
        latencies = sorted(self.rough.echo_s)
        add("C-ECHO in the storm, median s", statistics.median(latencies))
        add("C-ECHO in the storm, p99 s", latencies[int(0.99 * (len(latencies) - 1))], f"< {ECHO_LIMIT_S}",
            kept=latencies[int(0.99 * (len(latencies) - 1))] < ECHO_LIMIT_S, is_time=True)  # fmt: skip
        add("C-ECHO in the storm, longest s", latencies[-1], f"< {ECHO_LIMIT_S}", kept=latencies[-1] < ECHO_LIMIT_S,
            is_time=True)  # fmt: skip
        add("C-ECHO unanswered", self.rough.echoes_failed, "0", kept=self.rough.echoes_failed == 0)
        growth = max(self.rough.rss_mb) - max(rss_before_mb, *self.calm.rss_mb)
        add("growth of memory in the storm, MB", growth, f"< {GROWTH_LIMIT_MB:g}", kept=growth < GROWTH_LIMIT_MB)
        if self.tls_echo_s:
            longest = max(self.tls_echo_s)
            add("C-ECHO over TLS in the storm, longest s", longest, f"< {ECHO_LIMIT_S}", kept=longest < ECHO_LIMIT_S,
                is_time=True)  # fmt: skip

    def _require_baseline(self, threads: int, descriptors: int) -> None:
        """Threads and descriptors come back to what they were (5 %, and two more for what happens to be there)."""
        deadline = time.monotonic() + SETTLING_S
        while True:
            load = self.node.load()
            back = load.threads <= 1.05 * threads + 2 and load.descriptors <= 1.05 * descriptors + 2
            if back or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.figures.add("threads before, after", f"{threads}, {load.threads}", "+5 %", kept=back)
        self.figures.add("descriptors before, after", f"{descriptors}, {load.descriptors}", "+5 %", kept=back)
