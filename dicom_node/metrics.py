"""What the processes of a node count, for Prometheus; `status_page` shows it, `job_metrics` adds what is looked up.

    INSTANCES_REFUSED.count(status="0xA700")
    STAGE_SECONDS.observe(12.5, stage="segment", result="done")

prometheus_client keeps the numbers in files that the processes of a node share (its multi-process mode), so that the
supervisor tells of all of them, also of those that have died since. Measured: 4 MB and 30 ms per process, 2 µs per
count. Counting is on only below `perfnode serve`. Labels are names of the site's configuration and codes of ours:
never an identifier, and never more than a bounded number of values.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder, once, when it is imported; children inherit it."""
_METRICS: Final = "metrics"
"""Folder in the data directory, with one folder for each `serve`."""
_FILE_BYTES: Final = 1 << 17
"""Room for about 600 numbers of one process, written beforehand: a page that a full disk has no block for would kill
the process that touches it (SIGBUS), and a receiver must outlive a full disk."""
_MOST_SETS: Final = 100
"""Different sets of labels of one metric in one process; what comes later is counted as `other`."""
_LABEL: Final = re.compile(r"(?=.*[A-Za-z])[\w.:-]{1,48}|[\w-]{1,8}", re.ASCII)
"""A word; a UID is none."""
_OTHER: Final = "other"


class Kind(StrEnum):
    """What a number means."""

    COUNTER = "counter"
    """Only grows while the node runs, and starts at zero with it."""
    HISTOGRAM = "histogram"
    """Durations, counted by how long they were."""
    GAUGE = "gauge"
    """As it is now."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number, or one for each set of labels."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets_s: tuple[float, ...] = ()

    def count(self, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        if (child := _child(self, labels)) is not None:
            child.inc(amount)

    def observe(self, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        if (child := _child(self, labels)) is not None:
            child.observe(seconds)


INSTANCES_RECEIVED: Final = Metric(
    "perfnode_instances_received_total", Kind.COUNTER, "Instances kept and acknowledged."
)
INSTANCES_REFUSED: Final = Metric(
    "perfnode_instances_refused_total",
    Kind.COUNTER,
    "Instances answered with a failure, by C-STORE status.",
    ("status",),
)
ASSOCIATIONS: Final = Metric("perfnode_associations_total", Kind.COUNTER, "Associations that peers made with us.")
TURNED_AWAY: Final = Metric(
    "perfnode_associations_refused_total", Kind.COUNTER, "Peers turned away at the door, by code.", ("code",)
)
STAGE_SECONDS: Final = Metric(
    "perfnode_stage_seconds",
    Kind.HISTOGRAM,
    "Wall-clock time of one attempt of a stage, delivery or verification.",
    ("stage", "result"),
    (0.3, 1, 3, 10, 30, 100, 300, 1000, 3000),
)
ATTEMPTS: Final = Metric(
    "perfnode_attempts_total",
    Kind.COUNTER,
    "Attempts that ended, by stage, result and code.",
    ("stage", "result", "code"),
)
DELIVERIES: Final = Metric(
    "perfnode_deliveries_total",
    Kind.COUNTER,
    "Attempts to send to a destination, by result.",
    ("destination", "result"),
)
INSTANCES_DELIVERED: Final = Metric(
    "perfnode_instances_delivered_total",
    Kind.COUNTER,
    "Objects that a destination said it has stored.",
    ("destination",),
)
TAKEOVERS: Final = Metric(
    "perfnode_takeovers_total", Kind.COUNTER, "Processes of this or another host whose unfinished work was taken over."
)
PROCESS_RESTARTS: Final = Metric(
    "perfnode_process_restarts_total", Kind.COUNTER, "Processes of this host that died and were replaced.", ("process",)
)
ALERTS_SENT: Final = Metric(
    "perfnode_alerts_total",
    Kind.COUNTER,
    "Attempts to tell somebody of an event, by alert and result.",
    ("alert", "result"),
)
COUNTED: Final = (
    INSTANCES_RECEIVED,
    INSTANCES_REFUSED,
    ASSOCIATIONS,
    TURNED_AWAY,
    STAGE_SECONDS,
    ATTEMPTS,
    DELIVERIES,
    INSTANCES_DELIVERED,
    TAKEOVERS,
    PROCESS_RESTARTS,
    ALERTS_SENT,
)
"""What processes count themselves; the rest is looked up when somebody asks (`job_metrics`)."""


def begin_counting(data_dir: Path, name: str) -> None:
    """Forget the numbers of the `serve` of this name that ran before, and count, here and in processes from here on.

    Called by the supervisor alone, before it starts any other process.

    Args:
        data_dir: of the node.
        name: tells several `serve` of one host apart.
    """
    folder = data_dir / _METRICS / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ[_FOLDER] = str(folder)
    _counters.cache_clear()
    _counters()  # so that a scrape shows zeros, and not nothing


@dataclass(frozen=True, slots=True)
class CountedBelow:
    """A collector of prometheus_client: all that the processes of this host have counted, whoever started them."""

    root: Path

    def collect(self) -> "Iterable[Family]":
        """Every metric, summed over processes."""
        from prometheus_client.multiprocess import MultiProcessCollector

        files = sorted(str(file) for file in self.root.glob("*/*.db"))
        merged: Iterable[Family] = MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return merged


def counted_below(data_dir: Path) -> CountedBelow:
    """What has been counted on the host with this data directory."""
    return CountedBelow(data_dir / _METRICS)


@dataclass(slots=True)
class CountedAttempt:
    """The output of an attempt that is being timed."""

    output: dict[str, Any] | None = None

    def of(self, output: dict[str, Any]) -> dict[str, Any]:
        """Note how it ended, and give that back."""
        self.output = output
        return output


@contextmanager
def counted_attempt(stage: str, destination: str = "") -> Iterator[CountedAttempt]:
    """Time and count one attempt of a stage, delivery or verification; one that raises counts as `failed`."""
    started_at, counting = time.monotonic(), CountedAttempt()
    try:
        yield counting
    except Exception as fault:
        counting.output = {"code": type(fault).__name__}
        raise
    finally:
        if counting.output is not None:
            _count_attempt(stage, destination, counting.output, time.monotonic() - started_at)


def _count_attempt(stage: str, destination: str, output: dict[str, Any], seconds: float) -> None:
    result = str(output.get("result", "failed"))
    STAGE_SECONDS.observe(seconds, stage=str(stage), result=result)
    ATTEMPTS.count(stage=str(stage), result=result, code=str(output.get("code") or "none"))
    if destination and stage == "deliver":
        DELIVERIES.count(destination=destination, result=result)
        if stored := sum(1 for instance in output.get("instances", ()) if instance.get("stored")):
            INSTANCES_DELIVERED.count(stored, destination=destination)


def _child(metric: Metric, labels: dict[str, str]) -> Any:
    """What the library counts with; None where nobody would ever read it."""
    if _FOLDER not in os.environ:
        return None
    made = _counters().get(metric.name)
    if made is None or not metric.labels:
        return made
    return made.labels(*_bounded(metric.name, tuple(labels[name] for name in metric.labels)))


@cache
def _counters() -> dict[str, Any]:
    """Every counter and histogram of this process; none if there is no room for its files."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    try:
        for file in _files():
            file.write_bytes(bytes(_FILE_BYTES))
    except OSError:
        for file in _files():
            with suppress(OSError):
                file.unlink(missing_ok=True)
        return {}
    registry = CollectorRegistry()
    made: dict[str, Any] = {}
    for metric in COUNTED:
        if metric.kind is Kind.COUNTER:
            made[metric.name] = Counter(metric.name, metric.meaning, metric.labels, registry=registry)
        else:
            buckets = metric.buckets_s
            made[metric.name] = Histogram(
                metric.name, metric.meaning, metric.labels, buckets=buckets, registry=registry
            )
    return made


def _files() -> Iterator[Path]:
    """Where the library will keep the numbers of this process."""
    for kind in (Kind.COUNTER, Kind.HISTOGRAM):
        yield Path(os.environ[_FOLDER]) / f"{kind}_{os.getpid()}.db"


_seen: dict[str, set[tuple[str, ...]]] = {}


def _bounded(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    values = tuple(value if _LABEL.fullmatch(value) else _OTHER for value in values)
    seen = _seen.setdefault(name, set())
    if values not in seen and len(seen) >= _MOST_SETS:
        return (_OTHER,) * len(values)
    seen.add(values)
    return values
