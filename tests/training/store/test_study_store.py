"""The store: what comes in comes once, whole, and goes when it must; what is changed behind its back is seen."""

import json
import os
import shutil
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.training.store.hospital import IDENTITY, HospitalPatient, hybrid, registered, saved
from training.errors import PairRefused, StoreBusy, StoreUnusable
from training.store import study_store
from training.store.opt_outs import OptedOut
from training.store.pseudonyms import Pseudonyms
from training.store.shelf import Shelf
from training.store.store_lock import writing
from training.store.stored_pair import PairFiles, StoredLink
from training.store.study_store import StudyStore

ONE, TWO = HospitalPatient(), HospitalPatient(2, "ID-2", "Other^Person", "19501112")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    return StudyStore.create(tmp_path / "store", now=lambda: NOON)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> PairFiles:
    return hybrid(ONE, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> PairFiles:
    return registered(TWO, tmp_path_factory.mktemp("two"))


def refused(store: StudyStore, files: PairFiles) -> str:
    """Reason code; nothing of the pair may be left."""
    before = sorted(store.folder.rglob("*.dcm"))
    with pytest.raises(PairRefused) as told:
        store.take(files, by="Ann")
    assert sorted(store.folder.rglob("*.dcm")) == before
    assert store.verify() == ()
    assert "ZZCANARY" not in str(told.value)
    return told.value.reason_code


def test_pairs_are_there_after_they_were_taken(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    taken = [store.take(files, by="Ann") for files in (one, two)]
    again = StudyStore.open(store.folder)
    assert {pair.name: pair.manifest for pair in again.pairs()} == {pair.name: pair.manifest for pair in taken}
    assert again.patients() == tuple(sorted(pair.patient for pair in taken))
    assert again.pair(taken[1].name).link.matrix[:3, 3] == pytest.approx([12.5, -3.25, 40.125])
    assert [len(pair.ct) for pair in taken] == [3, 3]
    assert (taken[0].registration, taken[1].registration is not None) == (None, True)
    assert all(path.is_file() for pair in taken for path in (*pair.ct, *pair.nuclear))
    assert store.verify() == ()


def test_equal_pairs_make_equal_bytes(store: StudyStore, two: PairFiles, tmp_path: Path) -> None:
    shutil.copy(store.folder.with_suffix(".key"), tmp_path / "key")
    other = StudyStore.create(tmp_path / "other", tmp_path / "key", now=lambda: NOON)
    for each in (store, other):
        each.take(two, by="Ann")
    content = [
        {path.relative_to(each.folder): path.read_bytes() for path in each.folder.rglob("*") if path.is_file()}
        for each in (store, other)
    ]
    assert content[0] == content[1]


def test_the_same_pair_again_gives_what_is_there(store: StudyStore, one: PairFiles) -> None:
    first = store.take(one, by="Ann")
    lines = (store.folder / "audit.jsonl").read_bytes()
    again = store.take(one, by="Ann")
    assert again.manifest == first.manifest
    assert (store.folder / "audit.jsonl").read_bytes() == lines
    assert len(store.pairs()) == 1
    assert store.verify() == ()


def test_a_second_spect_of_a_patient_is_a_second_pair(store: StudyStore, one: PairFiles, tmp_path: Path) -> None:
    later = replace(ONE, seed=77).spect()
    later.SOPInstanceUID, later.SeriesInstanceUID = ONE.uid(66), ONE.uid(55)
    pairs = [store.take(one, by="Ann")]
    pairs.append(store.take(saved(ONE.ct(), [later], None, one.link, tmp_path / "later"), by="Ann"))
    assert len({pair.name for pair in pairs}) == len(store.pairs()) == 2
    assert len(store.patients()) == 1


def test_an_image_exported_again_is_a_duplicate(store: StudyStore, one: PairFiles, tmp_path: Path) -> None:
    store.take(one, by="Ann")
    assert refused(store, hybrid(replace(ONE, number=5, seed=1), tmp_path / "again")) == "DUPLICATE"


def test_the_same_uid_with_other_pixels_is_refused(store: StudyStore, one: PairFiles, tmp_path: Path) -> None:
    store.take(one, by="Ann")
    assert refused(store, hybrid(replace(ONE, seed=99), tmp_path / "changed")) == "CHANGED_OBJECT"


def test_another_kind_of_link_for_a_pair_is_refused(store: StudyStore, one: PairFiles) -> None:
    store.take(one, by="Ann")
    assert refused(store, replace(one, link=StoredLink("registered", IDENTITY))) == "DUPLICATE"


@pytest.mark.parametrize(
    "impostor",
    [
        HospitalPatient(patient_id="MISTYPED", name="Another^Name", birth_date="19400101", seed=50),
        HospitalPatient(7, "MISTYPED", "Another^Name", "19400101", seed=1),
        HospitalPatient(8, "MISTYPED", seed=51),
        HospitalPatient(8, "MISTYPED", "zzcanary^phi^^=kanji", seed=51),
    ],
    ids=["same UIDs", "same pixels", "same name and birth date", "same name in other letters"],
)
def test_one_patient_under_two_ids_is_found(
    store: StudyStore, one: PairFiles, impostor: HospitalPatient, tmp_path: Path
) -> None:
    store.take(one, by="Ann")
    assert refused(store, hybrid(impostor, tmp_path / "impostor")) == "SAME_PATIENT_OTHER_ID"


def test_two_persons_under_one_id_are_found_and_a_new_name_is_none(
    store: StudyStore, one: PairFiles, tmp_path: Path
) -> None:
    first = store.take(one, by="Ann")
    married = HospitalPatient(5, name="New^Name", seed=51)
    assert store.take(hybrid(married, tmp_path / "married"), by="Ann").patient == first.patient
    other = HospitalPatient(6, name="Other^Person", birth_date="19330304", seed=52)
    assert refused(store, hybrid(other, tmp_path / "other")) == "TWO_PATIENTS"
    unknown = HospitalPatient(7, birth_date="", seed=53)
    store.take(hybrid(unknown, tmp_path / "unknown"), by="Ann")
    births = [pair.manifest.birth for pair in store.pairs()]
    assert sorted(map(bool, births)) == [False, True, True]
    assert len(set(births)) == 2


def test_equal_birth_dates_of_two_patients_cannot_be_seen(store: StudyStore, one: PairFiles, tmp_path: Path) -> None:
    store.take(one, by="Ann")
    store.take(hybrid(replace(TWO, birth_date=ONE.birth_date), tmp_path / "twin"), by="Ann")
    assert len({pair.manifest.birth for pair in store.pairs()}) == 2


def test_slices_of_air_alone_make_no_two_patients_one(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    assert store.take(one, by="Ann").manifest.of("ct")[0].pixels_sha256 == ""
    store.take(two, by="Ann")  # has the same slice of air


def test_who_opted_out_goes_and_does_not_come_back(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    taken, kept = store.take(one, by="Ann"), store.take(two, by="Ann")
    assert store.opt_out([" zzcanary-id-1 ", ""], by="Ben") == (OptedOut(taken.patient, 1),)
    assert [pair.name for pair in store.pairs()] == [kept.name]
    assert not taken.folder.exists()
    assert refused(store, one) == "OPTED_OUT"
    assert b"zzcanary" not in b"".join(path.read_bytes() for path in store.folder.glob("*.json*")).lower()


@pytest.mark.parametrize(("listed", "comes"), [("47", "0047"), ("0047", "47"), ("00047", "0047"), ("0", "000")])
def test_leading_zeros_that_a_spreadsheet_dropped_let_nobody_in(
    store: StudyStore, listed: str, comes: str, tmp_path: Path
) -> None:
    files = hybrid(replace(TWO, patient_id=comes), tmp_path / "files")
    other = StudyStore.create(tmp_path / "other")
    other.opt_out([listed], by="Ben")
    assert refused(other, files) == "OPTED_OUT"
    store.take(files, by="Ann")
    assert store.opt_out([listed, "4 7", "A47"], by="Ben")[0] == OptedOut(store.pseudonym(listed), 1)
    assert store.pairs() == ()
    assert refused(StudyStore.open(store.folder), files) == "OPTED_OUT"
    store.take(hybrid(replace(TWO, patient_id="470"), tmp_path / "another"), by="Ann")


def test_who_opted_out_stays_out_when_the_list_is_lost(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    store.take(one, by="Ann")
    store.opt_out(["ZZCANARY-ID-1"], by="Ben")
    store.opt_out(["ZZCANARY-ID-1"], by="Ben")
    path = store.folder / "opted-out.json"
    whole = path.read_bytes()
    path.unlink()
    (told,) = store.verify()
    assert "opted out, and opted-out.json does not say so" in told
    with pytest.raises(PairRefused, match="OPTED_OUT"):
        store.take(one, by="Ann")
    assert path.read_bytes() == whole  # by the audit
    assert [line["event"] for line in store.audit().lines].count("opted-out") == 1
    for damaged in ("{", '{"P1": 1}', "[1]"):
        path.write_text(damaged)
        assert store.verify() == ("opted-out.json is damaged: remove it, the audit knows who opted out",)
        for act in (store.pairs, store.opted_out, lambda: store.take(two, by="Ann")):
            with pytest.raises(StoreUnusable, match=r"opted-out\.json is damaged"):
                act()


def test_a_patient_can_leave_although_a_manifest_is_damaged(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    pair, other = store.take(one, by="Ann"), store.take(two, by="Ann")
    (pair.folder / "pair.json").write_text("{")
    assert store.opt_out(["ID-2"], by="Ben") == (OptedOut(other.patient, 1),)
    assert store.remove(pair.patient, by="Ben") == 1
    assert (store.pairs(), store.verify()) == ((), ())


def test_only_its_owner_can_read_a_store(tmp_path: Path, two: PairFiles) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "store").mkdir(mode=0o777)
        store = StudyStore.create(tmp_path / "store")
        pair = store.take(two, by="Ann")
        store.record("accepted", pair.name, by="Eve", words={}, note="lies well")
        store.opt_out(["47"], by="Ben")
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    everything = [*tmp_path.rglob("*")]
    assert len(everything) > 15
    for path in everything:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert store.verify() == ()
    pair.ct[0].chmod(0o640)
    pair.folder.chmod(0o750)
    assert store.verify() == (f"others may read 2 files or folders: chmod -R go= {store.folder}",)


def test_what_is_none_of_the_stores_is_seen(store: StudyStore, two: PairFiles, tmp_path: Path) -> None:
    pair = store.take(two, by="Ann")
    (store.folder / "names.csv").touch(mode=0o600)
    shutil.copy(pair.ct[0], tmp_path / "elsewhere.dcm")
    pair.ct[0].unlink()
    pair.ct[0].symlink_to(tmp_path / "elsewhere.dcm")
    link = pair.ct[0].relative_to(store.folder)
    assert store.verify() == ("names.csv is no part of a store: take it out", f"{link} is a link")


def test_who_opted_out_before_never_comes_in(store: StudyStore, one: PairFiles) -> None:
    store.opt_out(["ZZCANARY-ID-1"], by="Ben")
    assert refused(StudyStore.open(store.folder), one) == "OPTED_OUT"


def test_a_removed_patient_may_come_again(store: StudyStore, one: PairFiles) -> None:
    taken = store.take(one, by="Ann")
    assert store.remove(taken.patient, by="Ben") == 1
    assert store.pairs() == ()
    assert store.verify() == ()
    assert list(store.folder.rglob("*.dcm")) == []
    assert store.remove(taken.patient, by="Ben") == 0
    assert store.take(one, by="Ann").manifest == taken.manifest
    assert store.verify() == ()


def test_the_audit_says_who_did_what_in_order(store: StudyStore, one: PairFiles) -> None:
    pair = store.take(one, by="Ann")
    store.record("accepted", pair.name, by="Eve", words={"quality": "GOOD"})
    store.opt_out(["ZZCANARY-ID-1"], by="Ben")
    lines = [json.loads(line) for line in (store.folder / "audit.jsonl").read_text().splitlines()]
    assert [(line["event"], line["by"]) for line in lines] == [
        ("taking", "Ann"),
        ("taken", "Ann"),
        ("accepted", "Eve"),
        ("opted-out", "Ben"),
        ("removed", "Ben"),
    ]
    assert {line["patient"] for line in lines} == {pair.patient}
    assert {line["time"] for line in lines} == {"2026-11-26T12:00:00+00:00"}


def test_sentences_do_not_come_into_the_audit(store: StudyStore, one: PairFiles) -> None:
    pair = store.take(one, by="Ann")
    with pytest.raises(ValueError, match="codes"):
        store.record("rejected", pair.name, by="Eve", words={"reason": "Mr Smith moved"})
    for own in ("taking", "taken", "removed", "opted-out"):
        with pytest.raises(ValueError, match="the store itself"):
            store.record(own, pair.name, by="Eve", words={})
    with pytest.raises(StoreUnusable, match="no pair"):
        store.record("rejected", "P00-1", by="Eve", words={})


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda pair: flip(pair.ct[1]), "ct/0002.dcm was changed"),
        (lambda pair: pair.ct[1].unlink(), "ct/0002.dcm is gone"),
        (lambda pair: (pair.folder / "ct" / "x.dcm").write_bytes(b""), "ct/x.dcm is not in its manifest"),
        (lambda pair: shutil.rmtree(pair.folder), "it is gone, and nobody removed it"),
        (lambda pair: shutil.copytree(pair.folder, pair.folder.with_name("P1-2")), "P1-2: its manifest is not the one"),
        (lambda pair: (pair.folder / "pair.json").write_text("{}"), "format 1"),
        (
            lambda pair: (pair.folder / "pair.json").write_text(
                (pair.folder / "pair.json").read_text().replace('"registration-object"', '"registered"')
            ),
            "its manifest is not the one",
        ),
    ],
    ids=["changed", "gone", "added", "pair gone", "pair added", "manifest damaged", "manifest changed"],
)
def test_what_is_changed_behind_its_back_is_seen(store: StudyStore, two: PairFiles, harm, told: str) -> None:  # type: ignore[no-untyped-def]
    harm(store.take(two, by="Ann"))
    assert told in " | ".join(store.verify())


def test_a_changed_audit_is_seen_and_not_written_on(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    store.take(one, by="Ann")
    path = store.folder / "audit.jsonl"
    path.write_text(path.read_text().replace("Ann", "Bob"))
    assert any("audit trail was changed: line 2" in problem for problem in store.verify())
    with pytest.raises(StoreUnusable, match="audit trail was changed"):
        store.take(two, by="Ann")
    assert len(store.pairs()) == 1


def test_half_a_line_that_a_crash_left_is_written_over(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    store.take(one, by="Ann")
    path = store.folder / "audit.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"line": 3, "prev')
    store.take(two, by="Ann")
    assert path.read_bytes().startswith(whole + b'{"line": 3, "previous": ')
    assert store.verify() == ()


def killed_at(folder: Path, files: PairFiles, event: str, act: str) -> int:
    """Take a pair and remove it in a process that kills itself before or after a line of the audit; its signal."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        real = study_store.append_audit

        def dies(path: Path, said: str, *rest: Any) -> None:
            if act == "before" and said == event:
                os.kill(os.getpid(), signal.SIGKILL)
            real(path, said, *rest)
            if act == "after" and said == event:
                os.kill(os.getpid(), signal.SIGKILL)

        study_store.append_audit = dies
        store = StudyStore.open(folder)
        store.remove(store.take(files, by="Ann").patient, by="Ann")
    finally:
        os._exit(1)


@pytest.mark.parametrize(
    ("event", "act", "left"),
    [("taking", "before", 0), ("taking", "after", 0), ("taken", "before", 1), ("removed", "after", 0)],
)
def test_after_kill_9_a_pair_is_there_or_not(
    store: StudyStore, one: PairFiles, two: PairFiles, event: str, act: str, left: int
) -> None:
    assert killed_at(store.folder, one, event, act) == -signal.SIGKILL
    assert len(store.pairs()) == left
    store.take(two, by="Ann")  # clears up first
    assert len(store.pairs()) == 1 + (left if event == "taken" else 0)
    assert store.verify() == ()
    assert not list((store.folder / "pairs").glob(".making/*"))


def test_a_pair_that_goes_while_others_are_read_is_left_out(store: StudyStore, one: PairFiles, two: PairFiles) -> None:
    taken = sorted((store.take(files, by="Ann") for files in (one, two)), key=lambda pair: pair.name)
    reading = Shelf(store.folder / "pairs").pairs()
    assert next(reading).name == taken[0].name
    store.remove(taken[1].patient, by="Ben")
    assert list(reading) == []


def test_a_key_is_never_made_in_place_of_another_one(store: StudyStore) -> None:
    key = store.folder.with_name("store.key")
    before = key.read_bytes()
    with pytest.raises(FileExistsError):
        Pseudonyms.make_key(key)
    assert key.read_bytes() == before
    assert [path.name for path in key.parent.glob(".*")] == []


def test_two_do_not_write_at_once(store: StudyStore, one: PairFiles) -> None:
    store.patience_s = 0.0
    with writing(store.folder, patience_s=0.0), pytest.raises(StoreBusy):
        store.take(one, by="Ann")
    store.take(one, by="Ann")


def test_a_store_is_opened_with_its_own_key_only(store: StudyStore, tmp_path: Path) -> None:
    key = tmp_path / "store.key"
    assert key.stat().st_mode & 0o777 == 0o600
    other = StudyStore.create(tmp_path / "other")
    with pytest.raises(StoreUnusable, match="not the one it was made with"):
        StudyStore.open(store.folder, tmp_path / "other.key")
    key.chmod(0o640)
    with pytest.raises(StoreUnusable, match="chmod 600"):
        StudyStore.open(store.folder)
    key.unlink()
    with pytest.raises(StoreUnusable, match="cannot be read"):
        StudyStore.open(store.folder)
    inside = other.folder / "key"
    shutil.copy(tmp_path / "other.key", inside)
    with pytest.raises(StoreUnusable, match="inside"):
        StudyStore.open(other.folder, inside)
    with pytest.raises(StoreUnusable, match="inside"):
        StudyStore.create(tmp_path / "third", tmp_path / "third" / "key")
    assert not (tmp_path / "third").exists()
    with pytest.raises(StoreUnusable, match="not empty"):
        StudyStore.create(store.folder)
    with pytest.raises(StoreUnusable, match=r"store\.json"):
        StudyStore.open(tmp_path)
