"""The spool: what was acknowledged is on disk, and a series that was cut off is never taken for complete."""

import errno
import os
from pathlib import Path

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
from dicom_node.reception.spool import Spool, SpooledSeries, content_digest, key_of
from tests.small_ct import SERIES, dataset_bytes, encoded, received, small_ct


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


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
        changed = type(announced)(**{n: getattr(announced, n) for n in announced.__slots__} | {field: uid})
        with pytest.raises(InstanceMismatch):
            spool.keep(changed)
    assert [path for path in spool.root.rglob("*") if path.is_file()] == []


def test_the_same_instance_again_is_accepted_and_changes_nothing(spool: Spool) -> None:
    first = spool.keep(received(small_ct()))
    before = first.path.stat()
    second = spool.keep(received(small_ct(), "a2"))
    assert (first.is_new, second.is_new) == (True, False)
    assert second.path.stat().st_mtime_ns == before.st_mtime_ns


def test_other_content_under_the_same_uid_is_refused_and_the_first_one_stays(spool: Spool) -> None:
    first = spool.keep(received(small_ct(fill=1)))
    before = first.path.read_bytes()
    with pytest.raises(InstanceConflict):
        spool.keep(received(small_ct(fill=2)))
    with pytest.raises(InstanceConflict):
        spool.keep(received(small_ct(fill=1), syntax=ImplicitVRLittleEndian))
    assert first.path.read_bytes() == before


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
    spool.association_opened("a1")
    spool.keep(received(small_ct()))
    restarted = Spool(spool.root)
    assert only(restarted).interrupted


@pytest.mark.parametrize("bad", ["truncated", "conflicting"])
def test_a_transfer_with_a_refused_instance_blocks_its_series(spool: Spool, bad: str) -> None:
    spool.association_opened("a1")
    spool.keep(received(small_ct(1), "a1"))
    refused = received(small_ct(1, fill=2), "a1")
    if bad == "truncated":
        refused = type(refused)(
            **{n: getattr(refused, n) for n in refused.__slots__} | {"encoded_dataset": refused.encoded_dataset[:-8]}
        )
    with pytest.raises((InvalidInstance, InstanceConflict)):
        spool.keep(refused)
    spool.association_released("a1")
    assert only(spool).interrupted
    send(spool, "a2", 1)
    assert only(spool).is_complete


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
    for n in range(1, 12):
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
        assert Spool(root, minimum_free_mb=1).sweep() == 0
        again = Spool(root, minimum_free_mb=1).keep(received(small_ct()))
        assert dataset_bytes(again.path) == encoded(small_ct())
    assert failures >= 6


def test_leftovers_of_a_killed_process_are_swept(spool: Spool) -> None:
    instance = spool.keep(received(small_ct()))
    (instance.path.parent / "x.dcm.part").write_bytes(b"half")
    assert spool.sweep() == 1
    assert only(spool).instances == (instance.path,)


def test_nothing_is_kept_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path, minimum_free_mb=1e12)
    with pytest.raises(SpoolFull) as caught:
        spool.keep(received(small_ct()))
    assert not caught.value.permanent
    assert spool.series() == []
