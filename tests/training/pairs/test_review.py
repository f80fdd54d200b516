"""A verdict is a line of the audit; what a person wrote about the patient is in no byte of the store."""

import json
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from tests.training.store.hospital import HospitalPatient, hybrid
from tests.training.store.test_canary import found, store_bytes
from training.errors import ReviewRefused, StoreUnusable, WordsRefused
from training.pairs.review import accepted_pairs, decide, verdict_on
from training.store.stored_pair import PairFiles
from training.store.study_store import StudyStore

WORDS = "ZZCANARY^PHI, born 1933-03-03, moved between the scans"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> PairFiles:
    return hybrid(HospitalPatient(), tmp_path_factory.mktemp("hospital"))


@pytest.fixture
def store(tmp_path: Path, files: PairFiles) -> StudyStore:
    store = StudyStore.create(tmp_path / "store")
    store.take(files, by="Ann")
    return store


def say(store: StudyStore, is_accepted: bool, reason: str = WORDS) -> str:
    (pair,) = store.pairs()
    decide(store, pair.name, is_accepted=is_accepted, by="Eve", reason=reason)
    return pair.name


def test_a_reason_that_names_the_patient_is_in_no_byte_of_the_store(store: StudyStore) -> None:
    name = say(store, False)
    assert found(store_bytes(store.folder)) == []
    note = store.note(name)
    assert note is not None
    assert (note.text, note.by) == (WORDS, "Eve")
    (path,) = store.folder.with_name("store.key.notes").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    say(store, True, "lies well")
    assert store.note(name).text == "lies well"  # type: ignore[union-attr]
    assert store.verify() == ()


def test_the_last_word_counts(store: StudyStore) -> None:
    (pair,) = store.pairs()
    assert verdict_on(store, pair) is None
    for is_accepted in (True, False, True):
        say(store, is_accepted)
        verdict = verdict_on(store, pair)
        assert verdict is not None
        assert (verdict.is_accepted, verdict.by) == (is_accepted, "Eve")
        assert [each.name for each in accepted_pairs(store)] == [pair.name] * is_accepted


def test_what_came_anew_must_be_looked_at_anew(store: StudyStore, files: PairFiles) -> None:
    name = say(store, True)
    store.remove(store.patients()[0], by="Ben")
    assert store.note(name) is None
    assert store.take(files, by="Ann").name == name
    assert accepted_pairs(store) == ()


def test_a_pair_whose_manifest_was_changed_is_not_accepted(store: StudyStore) -> None:
    say(store, True)
    path = store.pairs()[0].folder / "pair.json"
    path.write_text(path.read_text().replace('"overlap": 1.0', '"overlap": 0.5'))
    assert accepted_pairs(store) == ()


def test_a_verdict_cannot_be_turned_round_in_the_trail(store: StudyStore) -> None:
    say(store, False)
    say(store, False)
    path = store.folder / "audit.jsonl"
    path.write_text(path.read_text().replace('"rejected"', '"accepted"'))
    with pytest.raises(StoreUnusable, match="audit trail was changed"):
        accepted_pairs(store)


def test_a_line_that_says_nothing_breaks_the_chain(store: StudyStore) -> None:
    path = store.folder / "audit.jsonl"
    last = path.read_bytes().splitlines(keepends=True)[-1]
    path.write_bytes(path.read_bytes() + json.dumps({"line": 3, "previous": sha256(last).hexdigest()}).encode() + b"\n")
    assert any("line 3" in problem for problem in store.verify())
    with pytest.raises(StoreUnusable):
        accepted_pairs(store)


def test_a_verdict_needs_a_name_and_a_reason(store: StudyStore) -> None:
    name = store.pairs()[0].name
    for by, reason in (("", "x"), ("Eve", "  ")):
        with pytest.raises(ReviewRefused):
            decide(store, name, is_accepted=True, by=by, reason=reason)
    for by, reason in (("E" * 65, "x"), ("Eve", "x" * 2001)):
        with pytest.raises(WordsRefused):
            decide(store, name, is_accepted=True, by=by, reason=reason)
    assert accepted_pairs(store) == ()
    assert store.note(name) is None
    assert len(store.audit().lines) == 2
