"""What a process does to the spool while it is tortured, and what must be true of the spool afterwards.

One association sends two slices of a series, one of them twice, and is released; the series is taken. A second one
sends a slice of another series and then another version of it. What was answered goes out through a pipe, as to a
sender.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dicom_node.durable_files import make_directory
from dicom_node.errors import InstanceConflict, SeriesNotComplete, SpoolError
from dicom_node.reception.part10 import file_preamble
from dicom_node.reception.spool import ReceivedBytes, SeriesState, Spool, key_of
from tests.small_ct import received, small_ct

SIDE = 64
FIRST, SECOND = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"


@dataclass(frozen=True)
class Sent:
    """An instance as a sender sends it."""

    series_key: str
    name: str
    bytes: ReceivedBytes

    @property
    def sha256(self) -> str:
        """Hash of the file that must come of it."""
        data = self.bytes
        preamble = file_preamble(data.sop_class_uid, data.sop_instance_uid, data.transfer_syntax_uid)
        return hashlib.sha256(preamble + data.encoded_dataset).hexdigest()


def _sent(number: int, series: str, association_id: str, fill: int = 1) -> Sent:
    data = received(small_ct(number, series=series, side=SIDE, fill=fill), association_id)
    return Sent(key_of(series), f"{key_of(data.sop_instance_uid)}.dcm", data)


FIRST_SERIES = [_sent(1, FIRST, "a1"), _sent(2, FIRST, "a1"), _sent(1, FIRST, "a1")]
SECOND_SERIES = [_sent(1, SECOND, "a2"), _sent(1, SECOND, "a2", fill=2)]
ALL = FIRST_SERIES + SECOND_SERIES
CASE = "cases/c1/received"
HASHES: dict[str, set[str]] = {}
for _item in ALL:
    HASHES.setdefault(_item.name, set()).add(_item.sha256)


def work(root: Path, say: Callable[[str], None]) -> None:
    """What the tortured process does, to its end."""
    spool = Spool(root / "spool", minimum_free_mb=1)
    spool.sweep()
    if (root / CASE).exists():
        make_directory(root / CASE)  # a node does that when it registers the cases of one that was killed
    for association_id, items in (("a1", FIRST_SERIES), ("a2", SECOND_SERIES)):
        spool.association_opened(association_id)
        for item in items:
            say(f"{_kept(spool, item)} {ALL.index(item)}")
        spool.association_released(association_id)
        say(f"released {association_id}")
        for series in spool.series():
            if series.is_complete:
                spool.take(series, root / CASE)
                say("taken 0")


def _kept(spool: Spool, item: Sent) -> str:
    try:
        spool.keep(item.bytes)
    except InstanceConflict:
        return "conflict"
    except (SpoolError, OSError):
        return "refused"
    return "ack"


def violations(root: Path, said: list[str]) -> list[str]:
    """What is not as it must be, after the process has ended somehow and a new one has looked after the spool."""
    spool = Spool(root / "spool", minimum_free_mb=1)
    spool.sweep()
    found = _bad_files(root)
    acknowledged = {ALL[int(line.split()[1])] for line in said if line.startswith("ack ")}
    for item in acknowledged:
        places = (root / "spool" / "incoming" / item.series_key / item.name, root / CASE / item.name)
        if not any(path.exists() and _sha256(path) == item.sha256 for path in places):
            found.append("an acknowledged instance is lost or altered")
    found += _false_states(spool, root, said)
    found += _bad_retry(spool, root)
    leftovers = [*(root / "spool" / "parts").glob("*.part"), *(root / "spool" / "associations").iterdir()]
    return found + ["something is left after the sweep"] * bool(leftovers)


def _bad_files(root: Path) -> list[str]:
    kept = [*(root / "spool" / "incoming").rglob("*.dcm"), *(root / CASE).glob("*.dcm")]
    other = (root / "spool" / "conflicts").rglob("*.dcm")
    bad = [path for path in kept if _sha256(path) not in HASHES[path.name]]
    bad += [path for path in other if _sha256(path) not in HASHES[f"{path.stem.split('-')[0]}.dcm"]]
    return ["a file under a final name is short or altered"] * len(bad)


def _false_states(spool: Spool, root: Path, said: list[str]) -> list[str]:
    found = []
    first = {item.name for item in FIRST_SERIES}
    if (root / CASE).exists() and {path.name for path in (root / CASE).glob("*.dcm")} != first:
        found.append("a series was taken that is not whole")
    for series in spool.series():
        is_first = series.key == FIRST_SERIES[0].series_key
        if series.state is SeriesState.ARRIVING:
            found.append("a dead process seems to be sending")
        if is_first and series.is_complete and {path.name for path in series.instances} != first:
            found.append("a series seems to be complete that is not whole")
        if is_first and series.is_complete and "refused" in " ".join(said[:3]):
            found.append("a series seems to be complete of which an instance was refused")
        if not is_first and "conflict 4" in said and series.state is not SeriesState.CONFLICT:
            found.append("a series with two versions of an instance does not say so")
    return found


def _bad_retry(spool: Spool, root: Path) -> list[str]:
    """A sender tries again all it sent: everything must be accepted now, and end well."""
    spool.association_opened("again")
    for item in (*FIRST_SERIES, SECOND_SERIES[0]):
        again = ReceivedBytes(**{n: getattr(item.bytes, n) for n in item.bytes.__slots__} | {"association_id": "again"})
        if _kept(spool, Sent(item.series_key, item.name, again)) not in ("ack", "conflict"):
            return ["what was sent again is refused"]
    spool.association_released("again")
    first = [series for series in spool.series() if series.key == FIRST_SERIES[0].series_key]
    try:
        spool.take(first[0], root / "again")
    except (SeriesNotComplete, IndexError):
        return ["a series that was sent again cannot be taken"]
    names = {path.name for path in (root / "again").glob("*.dcm")}
    return [] if names == {item.name for item in FIRST_SERIES} else ["a series that was sent again is not whole"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def say_through(descriptor: int) -> Callable[[str], None]:
    """A way to answer that reaches the other side of a pipe before it returns, or fails."""

    def say(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return say
