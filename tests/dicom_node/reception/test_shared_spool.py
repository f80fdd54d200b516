"""Several processes use one spool at the same time: nothing is lost, doubled, or taken for what it is not."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from dicom_node.errors import SeriesNotComplete
from dicom_node.held_files import HeldFile, abandoned, is_held
from dicom_node.reception.spool import SeriesState, Spool, SpooledSeries, key_of
from tests.small_ct import SERIES, dataset_bytes, encoded, received, small_ct
from tests.spool_process import spool_process


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


def only(spool: Spool) -> SpooledSeries:
    (series,) = spool.series()
    return series


def test_what_another_process_receives_is_seen_as_it_is(spool: Spool) -> None:
    with spool_process(spool.root) as other:
        other.do("open a1")
        other.do("keep a1 1 1")
        assert only(spool).state is SeriesState.ARRIVING
        assert only(Spool(spool.root)).calling_ae_titles == ("SCANNER",)
        with pytest.raises(SeriesNotComplete, match="arriving"):
            spool.take(only(spool), spool.root / "case")
        other.do("release a1")
        assert only(spool).state is SeriesState.COMPLETE
        other.do("open a2")
        other.do("keep a2 2 1")
        other.do("end a2")
        assert only(spool).state is SeriesState.INTERRUPTED


def test_a_good_end_in_one_process_closes_what_died_in_another_and_not_what_lives_there(spool: Spool) -> None:
    with spool_process(spool.root) as dead, spool_process(spool.root) as living:
        for other, association in ((dead, "a1"), (living, "a2")):
            other.do(f"open {association}")
            other.do(f"keep {association} 1 1")
        dead.kill()
        spool.association_opened("a3")
        spool.keep(received(small_ct(2), "a3"))
        spool.association_released("a3")
        assert (only(spool).open_associations, only(spool).interrupted) == (1, False)
        living.kill()
        assert only(spool).state is SeriesState.INTERRUPTED


@pytest.mark.parametrize(("fill", "loser"), [(1, "again"), (2, "conflict")])
def test_two_processes_that_get_an_instance_in_the_same_moment_agree(spool: Spool, fill: int, loser: str) -> None:
    count = 40
    with spool_process(spool.root) as one, spool_process(spool.root) as two:
        one.do("open a1")
        two.do("open a2")
        for number in range(count):
            one.tell(f"keep a1 {number} 1")
            two.tell(f"keep a2 {number} {fill}")
            answers = [one.answer(), two.answer()]
            assert sorted(answers) == sorted(["new", loser])
            ours = encoded(small_ct(number, fill=1 if answers[0] == "new" else fill))
            path = spool.incoming / key_of(SERIES) / f"{key_of(f'{SERIES}.{number}')}.dcm"
            assert dataset_bytes(path) == ours
        one.do("release a1")
        two.do("release a2")
    assert len(only(spool).instances) == count
    assert only(spool).conflicts == (count if loser == "conflict" else 0)


def test_a_series_is_never_torn_apart_by_taking_it_while_others_send(spool: Spool) -> None:
    count, taken = 80, []
    with spool_process(spool.root) as one, spool_process(spool.root) as two:
        for number in range(count):
            for other, association, own in ((one, f"a{number}", number), (two, f"b{number}", count + number)):
                for line in (f"open {association}", f"keep {association} {own} 1", f"release {association}"):
                    other.tell(line)
        deadline = time.monotonic() + 60
        answers = {"one": 0, "two": 0}
        while sum(len(list(folder.glob("*.dcm"))) for folder in taken) < 2 * count:
            assert time.monotonic() < deadline, "what was sent does not all arrive"
            for series in spool.series():
                into = spool.root / "cases" / str(len(taken))
                try:
                    spool.take(series, into)
                except SeriesNotComplete:
                    continue
                taken.append(into)
        for name, other in (("one", one), ("two", two)):
            for _ in range(count):
                assert [other.answer() for _ in range(3)] == ["done", "new", "done"]
                answers[name] += 1
    assert answers == {"one": count, "two": count}
    assert spool.series() == []
    assert [path for folder in taken for path in folder.rglob("*.open")] == []


def test_many_senders_in_a_process_exclude_each_other_like_processes(spool: Spool, tmp_path: Path) -> None:
    with spool_process(spool.root) as one, spool_process(spool.root) as two:
        for other, association in ((one, "a1"), (two, "a2")):
            other.do(f"open {association}")
            for number in range(50):
                other.tell(f"keep {association} {number} 1")
        time.sleep(0.05)
        two.kill()
        answers = [one.answer() for _ in range(50)]
        assert set(answers) <= {"new", "again"}
        one.do("release a1")
    assert only(spool).state is SeriesState.COMPLETE
    assert len(only(spool).instances) == 50
    assert spool.sweep() <= 1


def test_the_quiet_time_does_not_follow_a_wall_clock_that_is_set(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spool.series() == []
    with spool_process(spool.root) as other:
        for line in ("open a1", "keep a1 1 1", "release a1"):
            other.do(line)
        real = time.time
        for wrong_s in (-1e6, 1e6):
            monkeypatch.setattr(time, "time", lambda wrong_s=wrong_s: real() + wrong_s)
            assert 0 <= only(spool).quiet_for_s < 5
        time.sleep(0.2)
        assert 0.2 <= only(spool).quiet_for_s < 5
        for line in ("open a2", "keep a2 2 1", "release a2"):
            other.do(line)
        assert only(spool).quiet_for_s < 0.1


def test_after_a_start_the_time_before_counts_and_a_clock_set_back_does_not_stop_it(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.association_opened("a1")
    instance = spool.keep(received(small_ct(1), "a1"))
    spool.association_released("a1")
    for folder in (instance.path.parent, instance.path.parent / "associations"):
        os.utime(folder, (time.time() - 100, time.time() - 100))
    restarted = Spool(spool.root)
    assert 99 < only(restarted).quiet_for_s < 130
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 1e6)
    restarted = Spool(spool.root)
    first = only(restarted).quiet_for_s
    time.sleep(0.1)
    assert 0 <= first < 5
    assert only(restarted).quiet_for_s >= first + 0.1


def test_an_instance_that_comes_late_is_seen_even_if_the_clock_of_the_disk_ticks_slowly(spool: Spool) -> None:
    """Names are remembered between looks; here they come while the folder keeps its time stamp."""
    spool.association_opened("a1")
    first = spool.keep(received(small_ct(1), "a1"))
    stamp = (1e9, 1e9)
    folders = (first.path.parent, first.path.parent / "associations")
    for number in range(2, 5):
        for folder in folders:
            os.utime(folder, stamp)
        assert len(only(spool).instances) == number - 1
        spool.keep(received(small_ct(number), "a1"))
    for folder in folders:
        os.utime(folder, stamp)
    only(spool)
    time.sleep(1.1)
    assert len(only(spool).instances) == 4
    assert len(only(spool).instances) == 4  # remembered from now on
    spool.keep(received(small_ct(5), "a1"))
    assert len(only(spool).instances) == 5


def test_a_held_file_is_held_by_its_process_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not is_held(path)
    held = HeldFile.create(path)
    assert is_held(path)
    assert is_held(path)
    with abandoned(path) as is_dead:
        assert not is_dead
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)  # so that it ends with the test, however that ends
        os.read(go_read, 1)
        os._exit(0 if is_held(path) else 1)
    held.release()
    assert not path.exists()
    HeldFile(path, held.descriptor).release()  # a second time does nothing
    path.touch()
    assert not is_held(path)  # although a child lives that was forked while we held it
    observer = os.open(path, os.O_RDONLY)
    fcntl.flock(observer, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as `is_held` does in another process at this moment
    assert not is_held(path)
    os.close(observer)
    with abandoned(path) as is_dead:
        assert is_dead
        assert is_held(path)  # nobody can come to hold it meanwhile
    assert not path.exists()
    os.write(go_write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    for descriptor in (go_read, go_write):
        os.close(descriptor)


def test_a_child_that_was_forked_does_not_outlive_the_hold_of_its_dead_parent(tmp_path: Path) -> None:
    path = tmp_path / "x"
    dead_read, dead_write = os.pipe()
    parent = os.fork()
    if parent == 0:
        HeldFile.create(path)
        if os.fork() == 0:
            os.close(dead_write)
            os.read(dead_read, 1)  # until the test is over
            os._exit(0)
        os._exit(0)
    os.waitpid(parent, 0)
    assert path.exists()
    deadline = time.monotonic() + 5
    while is_held(path) and time.monotonic() < deadline:
        time.sleep(0.01)  # the grandchild may not yet have run at all
    assert not is_held(path)
    for descriptor in (dead_read, dead_write):
        os.close(descriptor)
