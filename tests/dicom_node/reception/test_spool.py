"""The spool: what was acknowledged is on disk, and a series that was cut off is never taken for complete."""

import errno
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.errors import (
    InstanceConflict,
    InstanceMismatch,
    InvalidInstance,
    SeriesNotComplete,
    SpoolFull,
)
from dicom_node.reception.free_space import FreeSpace
from dicom_node.reception.spool import ReceivedBytes, SeriesState, Spool, SpooledSeries, content_digest, key_of
from tests.small_ct import SERIES, dataset_bytes, encoded, received, small_ct
from tests.spool_process import spool_process


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


def cut_short(whole: ReceivedBytes) -> ReceivedBytes:
    return replace(whole, encoded_dataset=whole.encoded_dataset[:-8])


def send(spool: Spool, association_id: str, *numbers: int, release: bool = True) -> None:
    spool.association_opened(association_id)
    for number in numbers:
        spool.keep(received(small_ct(number), association_id))
    if release:
        spool.association_released(association_id)
    spool.association_ended(association_id)


def only(spool: Spool) -> SpooledSeries:
    (series,) = spool.series()
    return series


def test_an_instance_is_kept_as_it_came_and_is_a_dicom_file(spool: Spool) -> None:
    dataset = small_ct()
    instance = spool.keep(received(dataset, syntax=ImplicitVRLittleEndian))
    assert dataset_bytes(instance.path) == encoded(dataset, ImplicitVRLittleEndian)
    assert instance.path.read_bytes()[:128] == bytes(128)
    read = pydicom.dcmread(instance.path)
    assert read.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert read.PixelData == dataset.PixelData


def test_no_uid_becomes_part_of_a_path(spool: Spool) -> None:
    instance = spool.keep(received(small_ct()))
    assert instance.path == spool.incoming / key_of(SERIES) / f"{key_of(SERIES + '.1')}.dcm"
    assert SERIES not in str(instance.path)


@pytest.mark.parametrize("uid", ["../../../../etc/x", "/etc/passwd", "1.2\0/x", "", "1.2.3"])
def test_an_announced_uid_other_than_the_datasets_is_refused_and_nothing_is_kept(spool: Spool, uid: str) -> None:
    announced = received(small_ct())
    for field in ("sop_instance_uid", "sop_class_uid"):
        with pytest.raises(InstanceMismatch):
            spool.keep(replace(announced, **{field: uid}))
    assert [path for path in spool.root.rglob("*") if path.is_file()] == []


def test_the_same_instance_again_is_accepted_and_changes_nothing(spool: Spool) -> None:
    first = spool.keep(received(small_ct()))
    before = first.path.stat()
    second = spool.keep(received(small_ct(), "a2"))
    assert (first.is_new, second.is_new) == (True, False)
    assert second.path.stat().st_mtime_ns == before.st_mtime_ns


def test_an_instance_that_is_here_is_acknowledged_only_after_its_name_is_durable(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it may still be on the way to that."""
    spool.association_opened("a1")
    instance = spool.keep(received(small_ct(), "a1"))
    real, synced = os.fsync, []

    def spy(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    assert not spool.keep(received(small_ct(), "a1")).is_new
    assert synced == [instance.path.parent]


def test_a_good_end_is_durable_before_it_is_answered(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.association_opened("a1")
    instance = spool.keep(received(small_ct(), "a1"))
    real, synced = os.fsync, []

    def spy(descriptor: int) -> None:
        folder = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((folder, sorted(path.name for path in folder.iterdir())))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    spool.association_released("a1")
    assert synced == [(instance.path.parent / "associations", ["a1.closed"])]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_becomes_full_is_full_and_not_broken(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(descriptor: int, views: object) -> int:
        raise OSError(number, "full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "writev", full)
        with pytest.raises(SpoolFull):
            spool.keep(received(small_ct()))
    assert spool.keep(received(small_ct())).is_new


def test_other_content_under_the_same_uid_is_refused_and_the_first_one_stays(spool: Spool) -> None:
    first = spool.keep(received(small_ct(fill=1)))
    before = first.path.read_bytes()
    with pytest.raises(InstanceConflict):
        spool.keep(received(small_ct(fill=2)))
    with pytest.raises(InstanceConflict):
        spool.keep(received(small_ct(fill=1), syntax=ImplicitVRLittleEndian))
    assert first.path.read_bytes() == before


def test_a_series_with_two_versions_of_an_instance_waits_for_a_person(spool: Spool) -> None:
    send(spool, "a1", 1, 2)
    spool.association_opened("a2")
    for _ in range(2):
        with pytest.raises(InstanceConflict):
            spool.keep(received(small_ct(1, fill=2), "a2"))
    spool.association_released("a2")
    send(spool, "a3", 1, 2)  # that the first version comes again does not say that it is right
    series = only(Spool(spool.root))
    assert (series.state, series.conflicts, series.interrupted) == (SeriesState.CONFLICT, 1, False)
    with pytest.raises(SeriesNotComplete, match="two versions"):
        spool.take(series, spool.root / "case")
    (other,) = (spool.root / "conflicts" / series.key).iterdir()
    assert dataset_bytes(other) == encoded(small_ct(1, fill=2))
    spool.set_aside(series, spool.root / "case")
    assert {dataset_bytes(path) for path in (spool.root / "case").glob("*.dcm")} == {
        encoded(small_ct(1)),
        encoded(small_ct(2)),
    }


def test_refused_versions_are_kept_in_small_number_and_for_some_days(spool: Spool) -> None:
    spool.keep(received(small_ct(1)))
    for fill in range(2, 12):
        with pytest.raises(InstanceConflict):
            spool.keep(received(small_ct(1, fill=fill), "a2"))
    (folder,) = (spool.root / "conflicts").iterdir()
    assert len(list(folder.iterdir())) == 4
    assert only(spool).conflicts == 1
    assert spool.remove_other_versions(older_than_days=1) == 0
    os.utime(folder, (0, 0))
    assert spool.remove_other_versions(older_than_days=1) == 1
    assert not folder.exists()


def test_a_version_is_refused_even_if_there_is_no_room_to_keep_it(spool: Spool) -> None:
    spool.keep(received(small_ct(1)))
    (spool.root / "conflicts").write_text("in the way")
    with pytest.raises(InstanceConflict):
        spool.keep(received(small_ct(1, fill=2), "a2"))
    assert only(spool).state is SeriesState.CONFLICT


def test_a_released_transfer_makes_a_complete_series(spool: Spool) -> None:
    send(spool, "a1", 1, 2, 3)
    series = only(spool)
    assert len(series.instances) == 3
    assert series.is_complete
    assert series.calling_ae_titles == ("SCANNER",)
    assert series.quiet_for_s < 5


def test_a_series_is_not_complete_while_its_association_lives(spool: Spool) -> None:
    spool.association_opened("a1")
    spool.keep(received(small_ct()))
    assert only(spool).is_arriving
    assert not only(spool).interrupted
    with pytest.raises(SeriesNotComplete, match="arriving"):
        spool.take(only(spool), spool.root / "case")


def test_a_cut_off_transfer_blocks_the_series_until_a_later_one_ends_well(spool: Spool) -> None:
    send(spool, "a1", 1, 2, release=False)
    assert only(spool).interrupted
    with pytest.raises(SeriesNotComplete, match="interrupted"):
        spool.take(only(spool), spool.root / "case")
    send(spool, "a2", 1, 2, 3)
    assert only(spool).is_complete


def test_a_transfer_of_another_series_does_not_unblock_a_cut_off_one(spool: Spool) -> None:
    send(spool, "a1", 1, release=False)
    spool.association_opened("a2")
    spool.keep(received(small_ct(1, series="1.2.3"), "a2"))
    spool.association_released("a2")
    assert [series.interrupted for series in spool.series() if series.key == key_of(SERIES)] == [True]


def test_a_good_end_does_not_close_a_transfer_that_still_lives(spool: Spool) -> None:
    spool.association_opened("a1")
    spool.keep(received(small_ct(1), "a1"))
    send(spool, "a2", 2)
    assert only(spool).is_arriving
    spool.association_ended("a1")
    assert only(spool).interrupted


def test_a_transfer_cut_off_by_a_crash_blocks_the_series_after_the_restart(spool: Spool) -> None:
    with spool_process(spool.root) as other:
        other.do("open a1")
        assert other.do("keep a1 1 1") == "new"
        assert only(spool).is_arriving
        other.kill()
    assert only(Spool(spool.root)).state is SeriesState.INTERRUPTED
    send(spool, "a2", 1)
    assert only(Spool(spool.root)).is_complete


def test_a_transfer_with_a_refused_instance_blocks_its_series(spool: Spool) -> None:
    spool.association_opened("a1")
    spool.keep(received(small_ct(1), "a1"))
    with pytest.raises(InvalidInstance):
        spool.keep(cut_short(received(small_ct(2), "a1")))
    spool.association_released("a1")
    assert only(spool).state is SeriesState.INTERRUPTED
    send(spool, "a2", 1)
    assert only(spool).is_complete


def test_an_instance_that_is_accepted_in_a_second_try_blocks_nothing(spool: Spool) -> None:
    spool.association_opened("a1")
    with pytest.raises(InvalidInstance):
        spool.keep(cut_short(received(small_ct(1), "a1")))
    spool.keep(received(small_ct(1), "a1"))
    spool.association_released("a1")
    assert only(spool).is_complete


def test_a_transfer_with_very_many_refused_instances_blocks_its_series(spool: Spool) -> None:
    spool.association_opened("a1")
    spool.keep(received(small_ct(1), "a1"))
    other = received(small_ct(1, series="1.2.3"), "a1")
    for number in range(1001):
        with pytest.raises(InstanceMismatch):
            spool.keep(replace(other if number < 1000 else received(small_ct(2), "a1"), sop_instance_uid=f"1.{number}"))
    spool.association_released("a1")
    assert only(spool).state is SeriesState.INTERRUPTED


def test_taking_a_series_moves_it_whole_and_later_slices_begin_a_new_folder(spool: Spool) -> None:
    send(spool, "a1", 1, 2)
    series, case = only(spool), spool.root / "cases" / "c1" / "received"
    spool.take(series, case)
    assert sorted(path.name for path in case.glob("*.dcm")) == [path.name for path in series.instances]
    assert spool.series() == []
    spool.take(series, case)  # again, as after a crash: nothing happens
    send(spool, "a2", 3)
    assert len(only(spool).instances) == 1
    assert len(list(case.glob("*.dcm"))) == 2


def test_a_series_that_grew_since_it_was_looked_at_is_not_taken(spool: Spool) -> None:
    send(spool, "a1", 1)
    seen = only(spool)
    send(spool, "a2", 2)
    with pytest.raises(SeriesNotComplete, match="changed"):
        spool.take(seen, spool.root / "case")
    assert len(only(spool).instances) == 2


def test_an_interrupted_series_can_be_set_aside_for_a_person(spool: Spool) -> None:
    send(spool, "a1", 1, release=False)
    spool.set_aside(only(spool), spool.root / "aside" / "s1")
    assert spool.series() == []
    assert len(list((spool.root / "aside" / "s1").glob("*.dcm"))) == 1


def test_the_content_digest_depends_on_content_only(spool: Spool, tmp_path: Path) -> None:
    send(spool, "a1", 1, 2)
    other = Spool(tmp_path / "other", minimum_free_mb=1)
    send(other, "z9", 2, 1)
    same = content_digest(only(spool).instances)
    assert same == content_digest(only(other).instances)
    changed = Spool(tmp_path / "changed", minimum_free_mb=1)
    changed.keep(received(small_ct(1)))
    changed.keep(received(small_ct(2, fill=9)))
    assert content_digest(only(changed).instances) != same


def test_every_failing_disk_operation_leaves_no_short_file_and_no_false_name(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = os.fsync, 0
    for n in range(1, 18):
        calls = 0

        def failing(descriptor: int, n: int = n) -> None:
            nonlocal calls
            calls += 1
            if calls == n:
                raise OSError(errno.EIO, "I/O error")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", failing)
        root = spool.root / str(n)
        try:
            Spool(root, minimum_free_mb=1).keep(received(small_ct()))
        except OSError:
            failures += 1
        monkeypatch.setattr(os, "fsync", real)
        for path in root.rglob("*.dcm"):
            assert dataset_bytes(path) == encoded(small_ct())
        assert list((root / "parts").glob("*.part")) == []
        again = Spool(root, minimum_free_mb=1).keep(received(small_ct()))
        assert dataset_bytes(again.path) == encoded(small_ct())
    assert failures >= 10


def test_what_dead_processes_left_is_swept_and_nothing_of_the_living(spool: Spool) -> None:
    instance = spool.keep(received(small_ct()))
    (instance.path.parent / "x.dcm.part").write_bytes(b"of an earlier version of this node")
    with spool_process(spool.root) as dead, spool_process(spool.root) as living:
        for other, association in ((dead, "a2"), (living, "a3")):
            assert other.do(f"open {association}") == other.do("part") == "done"
            assert other.do(f"keep {association} 1 1") == "again"
        dead.kill()
        assert spool.sweep() == 2
        assert [path.name for path in (spool.root / "associations").iterdir()] == ["a3"]
        assert len(list((spool.root / "parts").glob("*.part"))) == 1
        assert only(spool).open_associations == 1
    assert only(spool).instances == (instance.path,)
    assert spool.sweep() == 1


def test_the_folder_of_a_series_of_which_nothing_was_acknowledged_is_swept(spool: Spool) -> None:
    with spool_process(spool.root) as other:
        other.do("open a1")
        other.do("keep a1 1 1")
        (path,) = spool.incoming.glob("*/*.dcm")
        path.unlink()
        spool.sweep()
        assert path.parent.exists()
        other.kill()
        spool.sweep()
        assert not path.parent.exists()


def test_nothing_is_kept_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path, minimum_free_mb=1e12)
    with pytest.raises(SpoolFull) as caught:
        spool.keep(received(small_ct()))
    assert not caught.value.permanent
    assert spool.series() == []


def test_space_is_looked_at_anew_when_there_was_too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free_bytes = 2e6
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free_bytes))
    spool = Spool(tmp_path, minimum_free_mb=1)
    spool.keep(received(small_ct(1)))
    with pytest.raises(SpoolFull):
        spool.keep(received(small_ct(2, side=800)))
    free_bytes = 2.4e6
    spool.keep(received(small_ct(2, side=800)))
    free_bytes = 1.1e6
    with pytest.raises(SpoolFull):
        spool.keep(received(small_ct(3, side=400)))
    assert len(only(spool).instances) == 2


def test_an_old_answer_about_space_does_not_let_the_disk_run_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def disk_usage(path: Path) -> SimpleNamespace:
        nonlocal asked
        asked += 1
        return SimpleNamespace(free=100e6)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    space = FreeSpace(tmp_path, 32.0)
    for _ in range(100):
        space.require(100_000)  # 10 MB in all, of which 2 may go without a look
    assert asked == 6
    space.require(1)
    assert asked == 6
    time.sleep(1.05)
    space.require(1)
    assert asked == 7
    space.full()
    space.require(1)
    assert asked == 8
