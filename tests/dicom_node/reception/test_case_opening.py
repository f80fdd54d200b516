"""Cases of a node of several hosts, and cases that a database which went away had left half-open."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.jobs.cases import CaseStore
from dicom_node.named_locks import NamedLocks
from dicom_node.reception.case_opening import CaseOpening
from dicom_node.reception.shelf import Put, Reason
from dicom_node.reception.spool import Spool, key_of
from tests.dicom_node.reception.conftest import FrontDoor, chest_slice
from tests.peers import eventually
from tests.small_ct import SERIES, received

Make = Callable[..., FrontDoor]


@pytest.fixture
def door(front_door: Make) -> FrontDoor:
    """With the locks that hold over all hosts."""
    door = front_door(hold_limit_s=0.0)
    opening = door.intake.opening
    locks = NamedLocks(door.settings.database, door.data_dir)
    door.intake.opening = CaseOpening(opening.cases, opening.jobs, opening.unmatched, opening.structures, locks)
    return door


def _rename(door: FrontDoor, table: str, name: str) -> None:
    with closing(sqlite3.connect(str(door.settings.database.path))) as database:
        database.execute(f"alter table {table} rename to {name}")


def test_a_case_is_opened_by_one_host_at_a_time(door: FrontDoor) -> None:
    door.send(*(chest_slice(k) for k in range(20)))
    locks = NamedLocks(door.settings.database, door.data_dir)
    found: list[str] = []

    def look() -> None:
        while not found:
            found.extend(door.look())

    with locks.hold(f"series:{key_of(SERIES)}"):  # another host is at it
        host = threading.Thread(target=look)
        host.start()
        host.join(1.0)
        assert door.cases() == []
        assert not list(door.settings.cases().root.glob("*/received"))
    host.join(30.0)
    assert [case.case_id for case in door.cases()] == found


def test_the_host_that_comes_second_makes_a_case_of_its_slices_and_those_of_the_first(door: FrontDoor) -> None:
    other = Spool(door.data_dir / "other", minimum_free_mb=1)
    door.send(*(chest_slice(k) for k in range(0, 20, 2)))
    assert eventually(lambda: bool(door.look()))
    other.association_opened("b1")
    for k in range(1, 20, 2):
        other.keep(received(chest_slice(k), "b1"))
    other.association_released("b1")
    door.intake.arrivals = replace(door.intake.arrivals, spool=other)
    assert eventually(lambda: bool(door.look()))
    assert sorted(door.folder(case.case_id).record().instances for case in door.cases()) == [10, 20]


def test_a_case_whose_start_failed_is_started_later_without_a_restart(door: FrontDoor) -> None:
    door.send(*(chest_slice(k) for k in range(20)))
    _rename(door, "workflow_status", "away")
    assert eventually(lambda: bool(door.look() or list(door.settings.cases().root.glob("*/case.json"))))
    assert door.spool.series() == []
    _rename(door, "away", "workflow_status")
    assert door.cases() == []
    assert eventually(lambda: bool(door.look() or door.cases()), 15.0)
    assert len(door.cases()) == 1


def test_a_case_that_cannot_be_recovered_holds_up_no_other(door: FrontDoor) -> None:
    broken = door.settings.cases().folder("0" * 16)
    broken.received.mkdir(parents=True)
    (broken.received / "x.dcm").write_bytes(b"no DICOM")
    door.restart()
    door.send(*(chest_slice(k) for k in range(20)))
    assert eventually(lambda: bool(door.look()))
    assert len(door.cases()) == 1


def test_slices_of_this_host_and_of_its_shelf_become_one_case_on_the_disk_that_hosts_share(
    door: FrontDoor, other_disk: Path
) -> None:
    opening, unmatched = door.intake.opening, door.intake.arrivals.unmatched
    shared = CaseStore.under(other_disk)
    door.intake.opening = CaseOpening(shared, opening.jobs, unmatched, opening.structures, opening.locks)
    door.send(*(chest_slice(k) for k in range(10)))
    (early,) = door.spool.series()
    unmatched.put(door.spool, early, Reason(Put.UNMATCHED, "NO_RULE", "", "", time.time()))
    door.send(*(chest_slice(k) for k in range(10, 20)))
    assert eventually(lambda: bool(door.look()))
    (case,) = shared.all()
    assert case.record().instances == len(case.instances()) == 20
    assert unmatched.series() == []
    assert door.spool.series() == []
    assert not [path.name for path in other_disk.rglob("*") if path.name.startswith(".") or path.suffix == ".part"]


def test_a_time_of_arrival_that_a_killed_node_left_half_written_is_gone_after_a_restart(door: FrontDoor) -> None:
    cases = CaseStore.under(door.data_dir)
    cases.root.mkdir(exist_ok=True)
    (cases.root / "last-arrival.json.0123456789ab.part").write_text("17")
    door.restart()
    assert list(cases.root.iterdir()) == []
