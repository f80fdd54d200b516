"""What becomes of a series: a case, a hold with a reason, or a place on a shelf; and what a person may change."""

import threading
import time
from collections.abc import Callable

import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from dicom_node.errors import InstanceConflict, SeriesNotComplete, UnknownSeries
from dicom_node.jobs.priorities import Priority, queue_number
from dicom_node.reception.arrivals import Arrivals, ArrivalState
from inference.geometry import Grid
from inference.volumes import SeriesReference
from tests.dicom_node.reception.conftest import FrontDoor, chest_slice
from tests.peers import eventually
from tests.rt_structures import cylinder, structure_set
from tests.small_ct import SERIES, received

Make = Callable[..., FrontDoor]
OTHER = f"{SERIES}.9"


def taken(door: FrontDoor, count: int = 1) -> list[str]:
    """Look until there are cases."""
    found: list[str] = []

    def looked() -> bool:
        found.extend(door.look())
        return len(found) >= count

    assert eventually(looked, 30.0), door.arrivals()
    return found


def held(door: FrontDoor, code: str) -> None:
    """Look until the only series is held."""
    assert eventually(lambda: (door.look(), door.only().code == code)[1], 30.0), door.arrivals()
    assert door.only().state is ArrivalState.HELD
    assert door.cases() == []


def operator(door: FrontDoor) -> Arrivals:
    """What `perfnode release` and `discard` use, in a process of their own."""
    return Arrivals.under(door.data_dir, type(door.spool)(door.spool.root))


def test_a_whole_series_becomes_a_case_that_names_its_rule(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20)))
    assert door.look() == []  # not quiet yet
    assert door.only().state is ArrivalState.RECEIVING
    (case_id,) = taken(door)
    record = door.folder(case_id).record()
    assert (record.instances, record.rule, record.released) == (20, "ct", "")
    assert door.arrivals() == []


def test_a_series_with_a_hole_is_held_until_the_missing_slice_comes(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    assert "1 slice" in door.only().sentence
    assert door.only().rule == "ct"
    door.send(chest_slice(7))
    (case_id,) = taken(door)
    assert door.folder(case_id).record().instances == 20
    assert not list((door.spool.root / "holds").iterdir())


def test_a_hold_and_its_age_outlive_a_restart(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    before = door.only()
    time.sleep(0.05)
    door.restart()
    held(door, "SLICES_MISSING")
    assert door.only() == before


def test_after_the_limit_a_series_with_a_hole_is_handed_over_as_it_is(front_door: Make) -> None:
    door = front_door(hold_limit_s=0.4)
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    (case_id,) = taken(door)
    assert door.folder(case_id).record().instances == 19


def test_without_a_limit_a_hole_waits_for_a_person(front_door: Make) -> None:
    door = front_door(hold_limit_s=0)
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    time.sleep(0.3)
    assert door.look() == []


def test_a_release_hands_over_what_is_held_and_is_written_down(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    operator(door).release(door.only().series_key[:8])
    assert door.only().state is ArrivalState.RELEASED
    (case_id,) = taken(door)
    record = door.folder(case_id).record()
    assert (record.rule, record.released) == ("ct", "SLICES_MISSING")
    assert not list((door.spool.root / "holds").iterdir())


def test_a_release_is_void_when_the_series_has_changed_since(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20) if k not in (7, 9)))
    held(door, "SLICES_MISSING")
    operator(door).release(door.only().series_key)
    door.send(chest_slice(7))  # the other hole is still there
    held(door, "SLICES_MISSING")


def test_an_interrupted_series_waits_and_can_be_released(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20)), release=False)
    time.sleep(0.3)
    assert door.look() == []
    assert door.only().state is ArrivalState.INTERRUPTED
    operator(door).release(door.only().series_key[:8])
    (case_id,) = taken(door)
    assert door.folder(case_id).record().released == "INTERRUPTED"


def test_two_versions_of_an_image_wait_for_a_person(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20)))
    with pytest.raises(InstanceConflict):
        door.send(chest_slice(3, SeriesDescription="another"), association="bad")
    door.spool.association_ended("bad")
    assert eventually(lambda: (door.look(), door.only().code == "CONFLICT")[1], 30.0), door.arrivals()
    operator(door).release(door.only().series_key[:8])
    (case_id,) = taken(door)
    record = door.folder(case_id).record()
    assert (record.instances, record.released) == (20, "CONFLICT")


def test_a_discarded_series_is_kept_and_can_still_be_released(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    operator(door).discard(door.only().series_key[:8])
    assert door.only().state is ArrivalState.DISCARDED
    assert door.look() == []
    assert door.only().instances == 19
    operator(door).release(door.only().series_key[:8])
    (case_id,) = taken(door)
    assert door.folder(case_id).record().instances == 19
    assert door.arrivals() == []


def test_what_was_discarded_does_not_join_the_series_when_it_comes_again(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    operator(door).discard(door.only().series_key)
    door.send(*(chest_slice(k) for k in range(40, 60)))
    (case_id,) = taken(door)
    assert door.folder(case_id).record().instances == 20


def test_a_series_that_arrives_cannot_be_discarded(front_door: Make) -> None:
    door = front_door()
    door.spool.association_opened("a1")
    door.spool.keep(received(chest_slice(1), "a1"))
    with pytest.raises(SeriesNotComplete):
        operator(door).discard(door.only().series_key)
    door.spool.association_released("a1")


def test_an_operator_must_name_one_series(front_door: Make) -> None:
    door = front_door()
    with pytest.raises(UnknownSeries):
        operator(door).release("abc")
    door.send(*(chest_slice(1, series=f"{SERIES}.{k}") for k in range(17)))  # two of them begin alike
    first = [arrival.series_key[0] for arrival in door.arrivals()]
    (digit, *_) = (digit for digit in first if first.count(digit) > 1)
    with pytest.raises(UnknownSeries, match=f"{first.count(digit)} series"):
        operator(door).release(digit)
    with pytest.raises(UnknownSeries):
        operator(door).release("")


def test_a_localizer_is_ignored_and_listed_without_a_case(front_door: Make) -> None:
    door = front_door()
    door.send(chest_slice(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    assert eventually(lambda: (door.look(), door.only().state is ArrivalState.IGNORED)[1])
    assert (door.only().code, door.only().rule) == ("RULE_IGNORES", "localizer")
    assert door.cases() == []
    assert door.spool.series() == []


def test_the_same_ignored_series_again_is_kept_once(front_door: Make) -> None:
    door = front_door()
    for _ in range(2):
        door.send(chest_slice(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
        assert eventually(lambda: (door.look(), door.spool.series() == [])[1])
    assert door.only().state is ArrivalState.IGNORED
    assert len(list((door.data_dir / "unmatched").iterdir())) == 2  # the series and its reason


def test_an_unmatched_series_is_kept_for_some_days_and_then_removed(front_door: Make) -> None:
    door = front_door(keep_unmatched_days=0.3 / 86400)
    door.send(chest_slice(1, SOPClassUID=MRImageStorage, Modality="MR"))
    assert eventually(lambda: (door.look(), door.only().state is ArrivalState.UNMATCHED)[1])
    assert door.only().code == "NO_RULE"
    time.sleep(0.4)
    door.restart()
    door.look()
    assert door.arrivals() == []
    assert list((door.data_dir / "unmatched").iterdir()) == []


def test_what_was_put_aside_makes_room_on_a_full_disk_before_its_time(front_door: Make) -> None:
    door = front_door()
    for k in range(3):
        door.send(chest_slice(1, series=f"{SERIES}.{k}", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
        assert eventually(lambda: (door.look(), door.spool.series() == [])[1])
    last = door.arrivals()[-1]
    operator(door).release(last.series_key)
    door.intake.room_mb = 1e15
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    assert eventually(lambda: (door.look(), len(door.arrivals()) == 1)[1], 30.0)
    assert eventually(lambda: (door.look(), door.only().code == "SLICES_MISSING")[1], 30.0)  # what is held stays
    assert len(door.cases()) == 1  # and what was released


def test_a_series_that_was_discarded_and_comes_again_is_held_from_then_on(front_door: Make) -> None:
    door = front_door(hold_limit_s=1.0)
    slices = [chest_slice(k) for k in range(20) if k != 7]
    door.send(*slices)
    held(door, "SLICES_MISSING")
    operator(door).discard(door.only().series_key)
    door.look()
    time.sleep(1.1)
    door.send(*slices)
    assert eventually(lambda: (door.look(), any(a.state is ArrivalState.HELD for a in door.arrivals()))[1], 30.0)
    assert door.cases() == []


def test_a_release_overrides_a_rule(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k, SeriesDescription="MIP") for k in range(20)))
    assert eventually(lambda: (door.look(), door.only().state is ArrivalState.IGNORED)[1])
    operator(door).release(door.only().series_key[:8])
    (case_id,) = taken(door)
    record = door.folder(case_id).record()
    assert (record.instances, record.rule, record.released) == (20, "projection", "RULE_IGNORES")
    assert door.arrivals() == []


def test_late_slices_join_what_was_put_aside_before(front_door: Make) -> None:
    rules = [{"name": "long", "action": "process", "instances": {"min": 20}}]
    door = front_door(rules=rules)
    door.send(*(chest_slice(k) for k in range(12)))
    assert eventually(lambda: (door.look(), door.only().state is ArrivalState.UNMATCHED)[1])
    door.send(*(chest_slice(k) for k in range(12, 24)))
    (case_id,) = taken(door)
    assert door.folder(case_id).record().instances == 24
    assert door.arrivals() == []


def test_a_phantom_is_held_by_its_rule_whatever_the_limit(front_door: Make) -> None:
    door = front_door(hold_limit_s=0.1)
    door.send(*(chest_slice(k, PatientID="CATPHAN_604") for k in range(20)))
    held(door, "RULE_HOLDS")
    time.sleep(0.3)
    held(door, "RULE_HOLDS")
    assert door.only().rule == "phantom"


def test_late_slices_make_a_case_of_all_and_the_same_series_again_makes_none(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20)))
    (first,) = taken(door)
    door.send(chest_slice(20))
    (second,) = taken(door)
    assert door.folder(second).record().instances == 21
    door.send(*(chest_slice(k) for k in range(21)))
    assert taken(door) == [second]
    assert {case.case_id for case in door.cases()} == {first, second}


def test_late_slices_that_leave_a_hole_are_held(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20)))
    taken(door)
    door.send(chest_slice(23))
    assert eventually(lambda: (door.look(), door.only().code == "SLICES_MISSING")[1], 30.0)
    door.send(*(chest_slice(k) for k in (20, 21, 22)))
    (case_id,) = taken(door)
    assert door.folder(case_id).record().instances == 24


def test_a_released_series_that_comes_again_is_not_held_again(front_door: Make) -> None:
    door = front_door()
    slices = [chest_slice(k) for k in range(20) if k != 7]
    door.send(*slices)
    held(door, "SLICES_MISSING")
    operator(door).release(door.only().series_key)
    first = taken(door)
    door.send(*slices)
    assert taken(door) == first


def test_a_killed_intake_is_made_good(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k) for k in range(20)))
    (case_id,) = taken(door)
    (door.folder(case_id).path / "case.json").unlink()  # as if killed between the move and the record
    door.restart()
    assert door.folder(case_id).record().rule == "ct"
    assert len(door.cases()) == 1


def test_a_series_that_cannot_be_looked_at_holds_up_no_other(front_door: Make) -> None:
    door = front_door()
    door.send(*(chest_slice(k, series=SERIES) for k in range(20)))
    door.send(*(chest_slice(k, series=OTHER) for k in range(20)))
    for series in door.spool.series()[:1]:  # the first that is looked at
        (door.spool.root / "holds").mkdir(exist_ok=True)
        (door.spool.root / "holds" / f"{series.key}.json").write_text("not JSON")
    assert len(taken(door)) == 1


# -- the count of an archive -----------------------------------------------------------------------------------------


def test_fewer_instances_than_in_the_archive_are_held_until_all_are_here(front_door: Make) -> None:
    asked = []

    def ask(study: str, series: str) -> int:
        asked.append((study, series))
        return 22

    door = front_door(ask, hold_limit_s=0.1)
    door.send(*(chest_slice(k) for k in range(20)))
    held(door, "COUNT_DIFFERS")
    assert "22" in door.only().sentence
    assert "20" in door.only().sentence
    time.sleep(0.3)
    held(door, "COUNT_DIFFERS")  # the limit is for holes only
    door.send(chest_slice(20), chest_slice(21))
    (case_id,) = taken(door)
    assert door.folder(case_id).record().instances == 22
    assert len(asked) == 2  # once for each state


def test_more_instances_than_in_the_archive_are_no_reason_to_wait(front_door: Make) -> None:
    door = front_door(lambda study, series: 3)
    door.send(*(chest_slice(k) for k in range(20)))
    assert len(taken(door)) == 1


def test_a_hole_goes_on_after_its_limit_but_not_against_the_count(front_door: Make) -> None:
    door = front_door(lambda study, series: 20, hold_limit_s=0.3)
    door.send(*(chest_slice(k) for k in range(20) if k != 7))
    held(door, "SLICES_MISSING")
    assert eventually(lambda: (door.look(), door.only().code == "COUNT_DIFFERS")[1], 30.0)
    assert door.cases() == []


@pytest.mark.parametrize("silence", ["raises", "does not know"])
def test_an_archive_that_does_not_answer_delays_a_series_and_does_not_stop_it(front_door: Make, silence: str) -> None:
    def ask(study: str, series: str) -> int | None:
        if silence == "raises":
            raise OSError
        return None

    door = front_door(ask, count_wait_s=1.5)
    door.send(*(chest_slice(k) for k in range(20)))
    held(door, "COUNT_UNKNOWN")
    assert len(taken(door)) == 1


def test_an_archive_that_hangs_holds_up_nobody_longer_than_the_limit(front_door: Make) -> None:
    stopped = threading.Event()

    def hang(study: str, series: str) -> None:
        stopped.wait(60)

    door = front_door(hang, count_wait_s=0.4)
    started = time.monotonic()
    door.send(*(chest_slice(k) for k in range(20)))
    door.send(*(chest_slice(k, series=OTHER) for k in range(20)))
    assert len(taken(door, 2)) == 2
    assert time.monotonic() - started < 50
    stopped.set()


# -- structure sets --------------------------------------------------------------------------------------------------

SUBTRACTED = {"inference": {"subtract_structures": ["GTV.*"]}}


def structures(name: str = "GTV", *, series: str = SERIES, uid: str = f"{SERIES}.700", maker: str = "TPS") -> Dataset:
    """A structure set with one ROI, drawn on a series."""
    source = SeriesReference("1.2.826.0.1.3680043.8.498", series, "1.2.3", tuple(f"{series}.{k}" for k in range(20)))
    grid = Grid.axial((20, 4, 4), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    dataset = structure_set(grid, source, {name: cylinder(range(4, 9), 2, 2, 1)}, uid=uid)
    dataset.Manufacturer = maker
    return dataset


def test_a_structure_set_is_kept_with_its_ct_and_is_no_case(front_door: Make) -> None:
    door = front_door()
    door.send(structures())
    assert door.look() == []  # at once, without a quiet period
    assert door.arrivals() == []
    assert len(list((door.data_dir / "structures").rglob("*.dcm"))) == 1
    door.send(*(chest_slice(k) for k in range(20)))
    (case_id,) = taken(door)
    assert door.folder(case_id).structure_sets() == []  # the site subtracts nothing


def test_structures_that_the_site_subtracts_are_part_of_the_case(front_door: Make) -> None:
    door = front_door(site=SUBTRACTED)
    door.send(structures(), *(chest_slice(k) for k in range(20)))
    (case_id,) = taken(door)
    assert len(door.folder(case_id).structure_sets()) == 1
    assert len(door.cases()) == 1


def test_structures_that_come_later_make_a_new_case_once(front_door: Make) -> None:
    door = front_door(site=SUBTRACTED)
    door.send(*(chest_slice(k) for k in range(20)))
    (first,) = taken(door)
    assert door.folder(first).structure_sets() == []
    door.send(structures())
    (second,) = taken(door)
    assert second != first
    assert len(door.folder(second).structure_sets()) == 1
    assert len(door.folder(second).instances()) == 20
    assert (door.folder(second).record().rule, door.folder(second).record().instances) == ("ct", 20)
    door.send(structures())  # the same again
    assert door.look() == []
    assert door.arrivals() == []
    door.send(*(chest_slice(k) for k in range(20)))  # the CT again: the same case again
    assert taken(door) == [second]
    door.send(structures("GTV2", uid=f"{SERIES}.701"))
    (third,) = taken(door)
    assert len(door.folder(third).structure_sets()) == 2


@pytest.mark.parametrize("other", [{"name": "Heart"}, {"maker": "perfusion-node"}, {"series": OTHER}])
def test_structures_that_change_nothing_make_no_case(front_door: Make, other: dict[str, str]) -> None:
    door = front_door(site=SUBTRACTED)
    door.send(*(chest_slice(k) for k in range(20)))
    taken(door)
    door.send(structures(**other))
    assert door.look() == []
    assert door.arrivals() == []
    assert len(door.cases()) == 1


def test_a_structure_set_of_no_series_is_put_aside_with_a_reason(front_door: Make) -> None:
    door = front_door()
    dataset = structures()
    dataset.ReferencedFrameOfReferenceSequence = []
    door.send(dataset)
    door.look()
    assert (door.only().state, door.only().code) == (ArrivalState.UNMATCHED, "NO_REFERENCE")


def test_a_case_hurries_as_its_rule_says_and_arrives_after_those_before_it(front_door: Make) -> None:
    door = front_door(rules=[{"name": "now", "action": "process", "priority": "urgent"}])
    records = []
    for series in ("1.2.3.1", "1.2.3.2"):
        door.send(*(chest_slice(number, series=series) for number in range(1, 21)))
        (case_id,) = taken(door)
        records.append(door.folder(case_id).record())
    assert [record.priority for record in records] == ["urgent", "urgent"]
    assert records[0].queue_number < records[1].queue_number < queue_number(Priority.NORMAL, 0.0)
