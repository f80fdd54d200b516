"""`perfnode store`, as an administrator types it; no Patient ID comes back on the screen."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.training.store.hospital import HospitalPatient, hybrid, registered
from tests.training.store.test_canary import found, store_bytes
from training.commands.store import app
from training.errors import PairRefused
from training.pairs.review import accepted_pairs, decide
from training.store.stored_pair import PairFiles
from training.store.study_store import StudyStore

ONE, TWO = HospitalPatient(), HospitalPatient(2, "0047", "Other^Person", "19501112")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[PairFiles, PairFiles]:
    folder = tmp_path_factory.mktemp("hospital")
    return hybrid(ONE, folder / "one"), registered(TWO, folder / "two")


@pytest.fixture
def store(tmp_path: Path, files: tuple[PairFiles, PairFiles]) -> StudyStore:
    status, text = run("create", tmp_path / "store")
    assert (status, str(tmp_path / "store.key") in text) == (0, True)
    opened = StudyStore.open(tmp_path / "store")
    for each in files:
        opened.take(each, by="Ann")
    return opened


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    for identifier in (ONE.patient_id, ONE.name, "Other^Person", "19330303"):
        assert identifier.lower() not in result.output.lower()
    return result.exit_code, result.output


def names(store: StudyStore) -> tuple[str, str]:
    """Of the pair of the first patient and of the other."""
    one = store.pseudonym(ONE.patient_id)
    first, second = sorted((pair.name for pair in store.pairs()), key=lambda name: not name.startswith(one))
    return first, second


def test_patients_are_listed_with_what_was_decided(store: StudyStore) -> None:
    first, second = names(store)
    decide(store, first, is_accepted=True, by="Eve", reason="lies well")
    decide(store, second, is_accepted=False, by="Eve", reason="cut off")
    status, text = run("list", "--store", store.folder)
    assert status == 0
    assert f"{first[:13]}  1 pair(s): 1 accepted" in text
    assert f"{second[:13]}  1 pair(s): 1 rejected" in text
    assert "2 patients, 2 pairs: 1 accepted, 1 rejected, 0.0 MB; 0 opted out" in text


def test_a_pair_is_shown_by_its_name_its_patient_and_a_real_id(store: StudyStore) -> None:
    first, second = names(store)
    decide(store, second, is_accepted=True, by="Eve", reason="lies\x1b[2Jwell")
    status, text = run("show", second, "--store", store.folder)
    assert status == 0
    assert "linked by registration-object, moved by 12.5, -3.2, 40.1 mm" in text
    assert "CT of 3 slices, SPECT" in text
    assert "to look at: BURNED_IN_UNKNOWN" in text
    assert "accepted by Eve" in text
    assert "lies [2Jwell" in text
    assert first not in text
    for word in (second[:13], "0047", "47"):
        assert run("show", word, "--store", store.folder) == (0, text)
    assert "overlap 1.000" in run("show", first, "--store", store.folder)[1]
    status, text = run("show", "P00", "--store", store.folder)
    assert (status, "nothing of this name" in text) == (1, True)


def test_verify_ends_with_status_1_when_a_byte_was_changed(store: StudyStore) -> None:
    status, text = run("verify", "--store", store.folder)
    assert (status, "all is as it was written: 2 pairs, 4 audit lines" in text) == (0, True)
    assert store.audit().last_hash in text
    path = store.pairs()[0].ct[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    status, text = run("verify", "--store", store.folder)
    assert (status, "ct/0001.dcm was changed" in text, "1 PROBLEM(S)" in text) == (1, True, True)


def test_a_patient_is_removed_with_a_reason_that_stays_out_of_the_store(store: StudyStore) -> None:
    first, second = names(store)
    words = ("--store", store.folder, "--by", "Ben", "--reason", "ZZCANARY^PHI withdrew on 19330303")
    assert run("remove", "nobody", *words)[0] == 1
    assert run("remove", first[:13], *words[:-1], " ")[0] == 2
    status, text = run("remove", first[:13], *words)
    assert (status, "1 pair(s) removed" in text, "docs/retraining.md" in text) == (0, True, True)
    assert [pair.name for pair in store.pairs()] == [second]
    assert found(store_bytes(store.folder)) == []
    result = CliRunner().invoke(app, ["show", first[:13], "--store", str(store.folder)])
    assert "was removed: ZZCANARY^PHI withdrew on 19330303 (Ben, " in result.output
    assert run("remove", "47", *words[:-1], "another")[0] == 0
    assert store.pairs() == ()
    assert store.verify() == ()


def test_a_list_of_patients_opts_out_now_and_later(
    store: StudyStore, files: tuple[PairFiles, PairFiles], tmp_path: Path
) -> None:
    listed = tmp_path / "left.txt"
    listed.write_bytes("\ufeff 47 \r\n\r\nnever-here\r\n".encode())  # a spreadsheet made 47 of 0047
    status, text = run("opt-out", listed, "--store", store.folder, "--by", "Ben")
    assert status == 0
    assert f"line 1: {store.pseudonym('47')}  1 pair(s) removed" in text
    assert f"line 3: {store.pseudonym('never-here')}  nothing was here; refused from now on" in text
    assert "2 patients opted out, pairs of 1 removed" in text
    assert [pair.patient for pair in store.pairs()] == [store.pseudonym(ONE.patient_id)]
    with pytest.raises(PairRefused, match="OPTED_OUT"):
        store.take(files[1], by="Ann")
    assert "3 opted out" in run("list", "--store", store.folder)[1]  # 47, 0047 and never-here
    assert "opted out" in run("show", "0047", "--store", store.folder)[1]
    listed.write_text(ONE.patient_id)
    store.remove(store.pseudonym(ONE.patient_id), by="Ben", reason="ZZCANARY^PHI moved")
    assert len(list(store.folder.with_name("store.key.notes").iterdir())) == 1
    assert run("opt-out", listed, "--store", store.folder, "--by", "Ben")[0] == 0
    assert list(store.folder.with_name("store.key.notes").iterdir()) == []
    assert store.verify() == ()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "names no patient"),
        (b"17\n4711;Smith\n4712,Smith\n", "line 3:"),
        (b'"4711"\n', "line 1:"),
        ("4711\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_a_list_that_is_none_changes_nothing(store: StudyStore, tmp_path: Path, content: bytes, told: str) -> None:
    listed = tmp_path / "left.txt"
    listed.write_bytes(content)
    status, text = run("opt-out", listed, "--store", store.folder, "--by", "Ben")
    assert (status, told in text, "Smith" in text) == (2, True, False)
    assert (store.opted_out(), len(store.pairs())) == ((), 2)


@pytest.mark.parametrize("by", ["", "  ", "A\nB", "x" * 65])
def test_who_gives_a_command_is_named(store: StudyStore, by: str) -> None:
    status, text = run("remove", "0047", "--store", store.folder, "--by", by, "--reason", "x")
    assert (status, "WORDS_REFUSED" in text) == (2, True)
    assert len(store.pairs()) == 2


def test_the_audit_is_read_by_people_and_by_patient(store: StudyStore) -> None:
    first, second = names(store)
    decide(store, second, is_accepted=True, by="Eve", reason="lies well")
    status, text = run("audit", "--store", store.folder)
    assert status == 0
    assert [line.split()[2] for line in text.splitlines()[:-1]] == ["taking", "taken", "taking", "taken", "accepted"]
    assert f"taken       {first} (4 files)  by Ann" in text
    for word in (second, second[:13], "0047", "47"):
        of_one = run("audit", word, "--store", store.folder)[1]
        assert "3 of 5 lines" in of_one
        assert first not in of_one
    trail = store.folder / "audit.jsonl"
    trail.write_text(trail.read_text().replace('"Eve"', '"Eva"').replace('"line": 2', '"line": 9'))
    status, text = run("audit", "--store", store.folder)
    assert (status, "THE TRAIL WAS CHANGED: line 2" in text) == (1, True)
    assert accepted_or_code(store) == "STORE_UNUSABLE"


def accepted_or_code(store: StudyStore) -> str:
    try:
        return str(len(accepted_pairs(store)))
    except Exception as fault:
        return str(getattr(fault, "code", fault))


def test_another_folder_is_no_store(tmp_path: Path) -> None:
    for words in (("list",), ("show", "x"), ("verify",), ("audit",)):
        status, text = run(*words, "--store", tmp_path)
        assert (status, "STORE_UNUSABLE" in text) == (2, True)
    (tmp_path / "letter.txt").write_text("here")
    assert run("create", tmp_path)[0] == 2
