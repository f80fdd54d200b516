"""What is left when a process is killed with SIGKILL before any one of its changes to the disk, or the disk is full.

The interpreter tells of its calls to the kernel (`sys.addaudithook`), so no code of ours is replaced: before the n-th
file that is opened for writing, renamed, linked or removed, the process kills itself.
"""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.store.hospital import HospitalPatient, hybrid, registered
from training.errors import PairRefused, StoreBusy
from training.store.stored_pair import PairFiles
from training.store.study_store import StudyStore

ONE, TWO = HospitalPatient(), HospitalPatient(2, "00047", "Other^Person", "19501112")
CHANGES = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"})

UNCOUNTED = frozenset({"0001.dcm", "0003.dcm", "ct", "nuclear", "registration", "pair.json"})
"""Files of a folder that is gone already go one by one: one of them is enough."""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> PairFiles:
    return hybrid(ONE, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> PairFiles:
    return registered(TWO, tmp_path_factory.mktemp("two"))


def child(act: Callable[[], object]) -> int:
    """Do it in another process; its exit code, 0 if nothing was raised, or minus the signal that killed it."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        act()
        code = 0
    except OSError as fault:
        code = 20 if fault.errno else 1
    except StoreBusy:
        code = 30
    finally:
        os._exit(code)


def killed_before(change: int, act: Callable[[], object]) -> int:
    """Kill the process before its n-th change of a file."""
    left = [change]

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event in ("os.remove", "os.rmdir") and str(words[0]) in UNCOUNTED:
            return
        if event in CHANGES or (event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched() -> None:
        sys.addaudithook(hook)
        act()

    return child(watched)


def survey(store: StudyStore) -> list[str]:
    """Names of pairs that a reader sees; every one of them is whole."""
    pairs = StudyStore.open(store.folder).pairs()
    assert all(path.is_file() for pair in pairs for path in (*pair.ct, *pair.nuclear))
    return [pair.name for pair in pairs]


def leftovers(store: StudyStore) -> list[Path]:
    beside = [*store.folder.rglob(".*"), *store.folder.parent.glob("store.key.notes/.*")]
    return [path for path in beside if path.is_file()]


def copied(store: StudyStore, folder: Path) -> StudyStore:
    """The same store with the same key in another place."""
    shutil.copytree(store.folder, folder / "store")
    shutil.copy(store.folder.with_name("store.key"), folder / "store.key")
    return StudyStore.open(folder / "store")


def every_kill(ready: StudyStore, act: Callable[[StudyStore], object]) -> Iterator[tuple[int, StudyStore]]:
    """For each n a copy of a store, and the act on it killed before its n-th change. The last one is not killed."""
    number = 1
    while True:
        store = copied(ready, ready.folder.parent / str(number))
        code = killed_before(number, lambda: act(StudyStore.open(store.folder)))  # noqa: B023
        yield code, store
        if code == 0:
            assert number > 10
            return
        assert code == -signal.SIGKILL
        number += 1


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, one: PairFiles, two: PairFiles) -> StudyStore:
    store = StudyStore.create(tmp_path_factory.mktemp("filled") / "store")
    for files in (one, two):
        store.take(files, by="Ann")
    return store


def test_a_pair_that_is_taken_is_there_or_not(tmp_path: Path, one: PairFiles) -> None:
    empty = StudyStore.create(tmp_path / "store")
    for code, store in every_kill(empty, lambda store: store.take(one, by="Ann")):
        seen = survey(store)
        assert len(seen) in ((1,) if code == 0 else (0, 1))
        StudyStore.open(store.folder).take(one, by="Ann")
        assert (len(survey(store)), store.verify(), leftovers(store)) == (1, (), [])
        taken = [line for line in store.audit().lines if line["event"] == "taken"]
        assert len(taken) == 1  # told once, by whom it was taken or by whom it was finished


def test_a_patient_who_is_removed_is_gone_or_not(filled: StudyStore, tmp_path: Path) -> None:
    patient = filled.pseudonym(ONE.patient_id)
    ready = copied(filled, tmp_path)
    (kept,) = [pair.name for pair in ready.pairs() if pair.patient != patient]
    for code, store in every_kill(ready, lambda store: store.remove(patient, by="Ben", reason="ZZCANARY left")):
        told = any(line["event"] == "removed" for line in store.audit().lines)
        there = 1 if told else 2
        assert len(survey(store)) == there
        assert told or code < 0
        StudyStore.open(store.folder).record("accepted", kept, by="Eve", words={})
        assert (len(survey(store)), store.verify(), leftovers(store)) == (there, (), [])
        assert len(list(store.folder.glob("pairs/P*"))) == there


def test_who_opted_out_is_out_from_the_moment_the_list_is_written(
    filled: StudyStore, one: PairFiles, tmp_path: Path
) -> None:
    ready = copied(filled, tmp_path)
    for code, store in every_kill(ready, lambda store: store.opt_out([ONE.patient_id, "47"], by="Ben")):
        is_written = (store.folder / "opted-out.json").exists()
        assert len(survey(store)) == (0 if is_written else 2)
        assert is_written or code < 0
        if is_written:
            with pytest.raises(PairRefused, match="OPTED_OUT"):
                StudyStore.open(store.folder).take(one, by="Ann")
        else:
            StudyStore.open(store.folder).take(one, by="Ann")
        assert (store.verify(), leftovers(store)) == ((), [])
        assert len(list(store.folder.rglob("*.dcm"))) == (0 if is_written else 9)
        told = {line["patient"] for line in store.audit().lines if line["event"] == "opted-out"}
        assert told == ({store.pseudonym(each) for each in (ONE.patient_id, "00047", "47")} if is_written else set())


def test_a_store_whose_making_was_killed_can_be_made(tmp_path: Path) -> None:
    for number in range(1, 50):
        folder = tmp_path / str(number) / "store"
        folder.parent.mkdir()
        code = killed_before(number, lambda: StudyStore.create(folder))  # noqa: B023
        key = folder.with_name("store.key")
        drawn = key.read_bytes() if key.exists() else None
        if (folder / "store.json").exists():
            assert StudyStore.open(folder).verify() == ()
        else:
            assert StudyStore.create(folder).pairs() == ()
        assert drawn in (None, key.read_bytes())
        if code == 0:
            assert number > 4
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("limit_bytes", [50, 700, 2000])
def test_on_a_full_disk_nothing_is_half_done(tmp_path: Path, one: PairFiles, two: PairFiles, limit_bytes: int) -> None:
    """No file may become longer than so many bytes: the audit, a slice or the SPECT is the first to fail."""
    store = StudyStore.create(tmp_path / "store")
    store.take(two, by="Ann")
    before = survey(store)

    def full(act: Callable[[StudyStore], object]) -> Callable[[], object]:
        def limited() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
            act(StudyStore.open(store.folder))

        return limited

    assert child(full(lambda store: store.take(one, by="Ann"))) == 20
    assert (survey(store), store.verify(), leftovers(store)) == (before, (), [])
    if limit_bytes < 1000:  # an audit line has no place
        assert child(full(lambda store: store.remove(survey(store)[0].split("-")[0], by="Ben"))) == 20
        assert survey(store) == before
    store.take(one, by="Ann")
    assert len(survey(store)) == 2
    assert store.verify() == ()


def test_two_processes_take_turns_and_readers_never_see_half_a_pair(
    tmp_path: Path, one: PairFiles, two: PairFiles
) -> None:
    store = StudyStore.create(tmp_path / "store")
    patient = store.take(two, by="Ann").patient

    def comes_and_goes() -> None:
        mine = StudyStore.open(store.folder)
        for _ in range(4):
            mine.remove(patient, by="Child")
            mine.take(two, by="Child")

    if pid := os.fork():
        store.take(one, by="Ann")
        seen = set()
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            seen.add(len(store.pairs()))
            store.record("accepted", f"{store.take(one, by='Ann').name}", by="Eve", words={})
        assert seen <= {1, 2}
    else:
        try:
            comes_and_goes()
        finally:
            os._exit(0)
    assert len(store.pairs()) == 2
    assert store.verify() == ()
    by = [line["by"] for line in store.audit().lines if line["event"] in ("taken", "removed")]
    assert by.count("Child") == 8
