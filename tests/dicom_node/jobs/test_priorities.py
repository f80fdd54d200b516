"""The one number by which the engine orders its queues."""

import itertools
from pathlib import Path

from dicom_node.durable_files import make_directory
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.priorities import EPOCH_S, Priority, queue_number

FAR = EPOCH_S + 30 * 365 * 86400.0
"""Later than there is room for."""


def test_class_goes_before_arrival_and_every_number_fits_into_the_engine() -> None:
    times_s = [0.0, EPOCH_S, EPOCH_S + 1.0, EPOCH_S + 86400.0, FAR]
    numbers = [queue_number(priority, when_s) for priority in Priority for when_s in times_s]
    assert numbers == sorted(numbers)
    assert numbers[0] >= 1
    assert numbers[-1] < 2**31
    assert queue_number(Priority.URGENT, FAR) < queue_number(Priority.NORMAL, 0.0)
    assert queue_number(Priority.NORMAL, EPOCH_S + 5.0) < queue_number(Priority.NORMAL, EPOCH_S + 6.0)


def test_cases_arrive_one_after_the_other_whatever_the_clock_does(tmp_path: Path) -> None:
    store = CaseStore(tmp_path / "cases")
    make_directory(store.root)
    times_s = [store.next_arrival_s() for _ in range(3)]
    (store.root / "last-arrival.json").write_text(str(times_s[-1] + 3600.0))  # as if the clock had jumped back since
    times_s.append(store.next_arrival_s())
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(times_s))
    assert CaseStore(store.root).next_arrival_s() > times_s[-1]
