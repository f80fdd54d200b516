"""A series that goes to another file system: killed at any step, it is in one place in the end, and whole."""

import os
import sys
from pathlib import Path

import pytest

from dicom_node.reception.spool import Spool, content_digest
from tests.small_ct import received, small_ct

_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}
"""What Python tells an audit hook of the file system. `open` comes before every write and every fsync."""
_KILLED = 9


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


def _send(spool: Spool, association: str, *numbers: int) -> None:
    spool.association_opened(association)
    for number in numbers:
        spool.keep(received(small_ct(number), association))
    spool.association_released(association)


def _left(spool: Spool, disk: Path) -> list[str]:
    leaving = [path.name for path in (spool.root / "leaving").glob("*")]
    return leaving + [path.name for path in disk.rglob(".moving-*")] + [path.name for path in disk.rglob("*.part")]


def test_a_series_moves_to_another_disk_and_leaves_nothing(spool: Spool, other_disk: Path) -> None:
    _send(spool, "a1", 1, 2, 3)
    (series,) = spool.series()
    digest = content_digest(series.instances)
    spool.take(series, other_disk / "case" / "received")
    assert content_digest(sorted((other_disk / "case" / "received").glob("*.dcm"))) == digest
    assert len(list((other_disk / "case" / "received" / "associations").iterdir())) == 1
    assert spool.series() == []
    assert _left(spool, other_disk) == []


def test_killed_at_any_step_the_series_is_in_one_place_and_whole(
    tmp_path: Path, spool: Spool, other_disk: Path
) -> None:
    step, status = 0, _KILLED
    while status == _KILLED:
        step += 1
        into = other_disk / f"case{step}" / "received"
        _send(spool, f"a{step}", 1, 2)
        (series,) = spool.series()
        digest = content_digest(series.instances)
        status = _take_until(step, spool, into)
        again = Spool(spool.root, minimum_free_mb=1)
        assert again.finish_moves()
        if not into.exists():  # it had not begun
            (series,) = again.series()
            again.take(series, into)
        assert content_digest(sorted(into.glob("*.dcm"))) == digest, f"killed at step {step}"
        assert again.series() == [], f"killed at step {step}"
        assert _left(again, other_disk) == [], f"killed at step {step}"
    assert status == 0
    assert step > 15, "it was never killed while it copied"


def _take_until(step: int, spool: Spool, into: Path) -> int:
    """Take the series in a process that ends at its step number `step`; the exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        (series,) = spool.series()
        left = step

        def count(event: str, arguments: object) -> None:
            nonlocal left
            left -= event in _STEPS
            if left == 0:
                os._exit(_KILLED)

        sys.addaudithook(count)
        spool.take(series, into)
    finally:
        os._exit(1 if sys.exc_info()[0] else 0)


def test_slices_that_come_while_a_series_waits_for_a_full_disk_begin_a_new_one(spool: Spool, other_disk: Path) -> None:
    _send(spool, "a1", 1, 2)
    (series,) = spool.series()
    (other_disk / "case").write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        spool.take(series, other_disk / "case" / "received")
    assert len(spool.series()) == 1  # the other disk was looked at first
    (other_disk / "case").unlink()
    (other_disk / "case").mkdir()
    leaving = spool._leaving.begin(series.directory, other_disk / "case" / "received")
    assert spool.series() == []
    _send(spool, "a2", 3)
    assert len(spool.series()) == 1
    assert spool.finish_moves()
    assert not leaving.exists()
    assert len(list((other_disk / "case" / "received").glob("*.dcm"))) == 2
    (late,) = spool.series()
    assert len(late.instances) == 1
