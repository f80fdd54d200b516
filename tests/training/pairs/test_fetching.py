"""What becomes of each patient of a list, whatever the archive does; the node's command is a script here.

`tests/scenarios/test_pairs_fetch.py` does the same with the real command and a real archive.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from tests.training.pairs.hospital_files import PATIENT, ct_files, nuclear, save
from tests.training.pairs.moved_spect import spect_of
from training.commands.pairs import app
from training.errors import StoreBusy
from training.pairs.archive_command import ArchiveCommand
from training.pairs.fetching import FetchedPatient, Outcome, fetch_pairs
from training.pairs.importing import import_folder
from training.pairs.patient_list import ListedPatient
from training.pairs.rigid import Rigid
from training.store.study_store import StudyStore

ROOT = Path(__file__).parents[3]
PRELUDE = """
import json, os, pathlib, shutil, sys, time
words = sys.argv[1:]
folder = pathlib.Path(words[words.index("--into") + 1])
patient = sys.stdin.readline().strip()
here = pathlib.Path(__file__).parent
def series(fate="fetched", code="", message=""):
    print(json.dumps({"fate": fate, "code": code, "message": message}), flush=True)
def give(name):
    shutil.copytree(here / name, folder / name)
    series()
with (here / "asked.jsonl").open("a") as log:
    modes = [oct(folder.parent.stat().st_mode & 0o777), sorted(os.listdir(folder.parent))]
    log.write(json.dumps([words, patient, os.environ.get("PERFNODE_PATIENT"), modes]) + "\\n")
"""


def command(folder: Path, script: str) -> ArchiveCommand:
    path = folder / "script.py"
    path.write_text(PRELUDE + script)
    return ArchiveCommand("pacs-1", folder / "site.toml", program=(sys.executable, str(path)))


def asked(folder: Path) -> list[list[object]]:
    path = folder / "asked.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def patients(*ids: str) -> list[ListedPatient]:
    return [ListedPatient(number, one) for number, one in enumerate(ids, start=1)]


def outcomes(told: Sequence[FetchedPatient]) -> list[str]:
    return [each.outcome.value for each in told]


def codes(told: FetchedPatient) -> list[str]:
    return [detail.code for detail in told.details]


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    return StudyStore.create(tmp_path / "kept" / "store")


@pytest.fixture(scope="module")
def hospital(thorax: DigitalThorax, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT and a SPECT of one frame of reference."""
    here = tmp_path_factory.mktemp("hospital")
    ct_files(thorax.ct, here / "good" / "ct")
    values, grid = spect_of(thorax, Rigid.identity(), frame_uid=thorax.ct.grid.frame_of_reference_uid)
    save(nuclear(values, grid), here / "good" / "nm.dcm")
    return here / "good"


def test_an_archive_that_cannot_be_asked_is_left_in_peace_after_three(
    store: StudyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERFNODE_PATIENT", "SOMEBODY-ELSE")
    script = "(folder.parent / 'left.dcm').touch()\n"
    script += "print('PEER_UNREACHABLE: no TCP connection', file=sys.stderr)\nsys.exit(2)\n"
    told = list(fetch_pairs(patients(*"ABCDE"), command(tmp_path, script), store, by="A"))
    assert outcomes(told) == ["FETCH_FAILED"] * 3 + ["NOT_TRIED"] * 2
    assert [each.line for each in told] == [1, 2, 3, 4, 5]
    assert (codes(told[0]), told[0].details[0].sentence) == (["PEER_UNREACHABLE"], "no TCP connection")
    calls = asked(tmp_path)
    assert [call[1] for call in calls] == ["A", "B", "C"]
    assert all(call[2] is None for call in calls)
    assert all(call[3] == ["0o700", ["stderr", "stdout"]] for call in calls)  # nothing of the one before
    words = calls[0][0]
    assert isinstance(words, list)
    assert words[-2:] == ["--", "pacs-1"]
    assert words[words.index("--config") + 1] == str(tmp_path / "site.toml")
    assert [path.name for path in store.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_an_answer_in_between_lets_the_next_be_tried(store: StudyStore, tmp_path: Path) -> None:
    script = "if patient != 'C':\n    sys.exit('PEER_UNREACHABLE: x')\n"
    told = list(fetch_pairs(patients(*"ABCDE"), command(tmp_path, script), store, by="A"))
    assert outcomes(told) == ["FETCH_FAILED", "FETCH_FAILED", "NOT_FOUND", "FETCH_FAILED", "FETCH_FAILED"]


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("print('no JSON')", "COMMAND", "cannot be read"),
        ("print('[1]')", "COMMAND", "cannot be read"),
        ("os.kill(os.getpid(), 9)", "COMMAND", "status -9"),
        ("print('│ the site has no peer x │', file=sys.stderr); sys.exit(2)", "COMMAND", ": the site has no peer x"),
        ("print('Traceback: X', file=sys.stderr); sys.exit(1)", "COMMAND", "status 1"),
        ("series(); series('failed', 'RETRIEVAL_INCOMPLETE', '3 of 4'); sys.exit(1)", "RETRIEVAL_INCOMPLETE", "3 of 4"),
        ("series(); print('QUERY_REFUSED: no', file=sys.stderr); sys.exit(2)", "QUERY_REFUSED", "no"),
    ],
)
def test_every_way_to_fail_has_a_code(script: str, code: str, words: str, store: StudyStore, tmp_path: Path) -> None:
    (told,) = fetch_pairs(patients("A"), command(tmp_path, script), store, by="A")
    assert (told.outcome, codes(told)) == (Outcome.FETCH_FAILED, [code])
    assert words in told.details[0].sentence


def test_a_patient_of_whom_a_series_is_missing_is_not_imported(
    hospital: Path, store: StudyStore, tmp_path: Path
) -> None:
    (tmp_path / "good").symlink_to(hospital)
    script = "give('good')\nseries('failed', 'RETRIEVAL_INCOMPLETE', 'x')\nsys.exit(1)\n"
    (told,) = fetch_pairs(patients(PATIENT.patient_id), command(tmp_path, script), store, by="A")
    assert outcomes([told]) == ["FETCH_FAILED"]
    assert store.pairs() == ()


def test_objects_that_name_another_patient_are_not_taken(hospital: Path, store: StudyStore, tmp_path: Path) -> None:
    (tmp_path / "good").symlink_to(hospital)
    (told,) = fetch_pairs(patients("4711"), command(tmp_path, "give('good')"), store, by="A")
    assert (told.outcome, codes(told)) == (Outcome.NO_PAIR, ["OTHER_PATIENT"])
    assert PATIENT.patient_id not in told.details[0].sentence
    assert store.pairs() == ()


def test_it_goes_on_where_it_was_and_asks_anew_for_whom_it_must(
    hospital: Path, store: StudyStore, tmp_path: Path
) -> None:
    (tmp_path / "good").symlink_to(hospital)
    archive = command(tmp_path, f"if patient == {PATIENT.patient_id!r}: give('good')\n")
    some = patients(f" {PATIENT.patient_id.lower()} ", "B")  # as the store sees it, the same patient
    with closing(fetch_pairs(patients(PATIENT.patient_id, "B"), archive, store, by="A")) as first:
        told = next(first)
    assert (told.outcome, codes(told)) == (Outcome.IN, ["DAYS_APART"])
    assert [path.name for path in store.folder.parent.iterdir() if path.name.startswith(".")] == []
    line = store.audit().lines[-1]
    assert (line["event"], line["pair"], line["peer"]) == ("fetched", told.pairs[0].name, "PACS_1")

    assert outcomes(list(fetch_pairs(some, archive, store, by="A"))) == ["ALREADY_IN", "NOT_FOUND"]
    assert [call[1] for call in asked(tmp_path)] == [PATIENT.patient_id, "B"]
    gone = command(tmp_path, "sys.exit('PEER_UNREACHABLE: x')")
    others = [*patients("X", "Y", "Z"), ListedPatient(4, PATIENT.patient_id)]
    assert outcomes(list(fetch_pairs(others, gone, store, by="A"))) == ["FETCH_FAILED"] * 3 + ["ALREADY_IN"]
    empty = command(tmp_path, "")  # quicker, and shows as well that it was asked
    again = list(fetch_pairs(patients(PATIENT.patient_id), empty, store, by="A", again=True))
    assert (outcomes(again), len(store.pairs())) == (["NOT_FOUND"], 1)
    store.remove(told.pairs[0].patient, by="A")
    assert [each.is_in for each in import_folder(hospital, store, by="A")] == [True]  # some of the patient, by hand
    assert outcomes(list(fetch_pairs(patients(PATIENT.patient_id), empty, store, by="A"))) == ["NOT_FOUND"]
    store.opt_out([PATIENT.patient_id], by="A")
    before = len(asked(tmp_path))
    assert outcomes(list(fetch_pairs(patients(PATIENT.patient_id), archive, store, by="A"))) == ["OPTED_OUT"]
    assert len(asked(tmp_path)) == before


def test_a_pair_that_the_store_refuses_is_told_and_not_taken_for_done(
    hospital: Path, store: StudyStore, tmp_path: Path
) -> None:
    other = tmp_path / "good"
    other.mkdir()
    for path in hospital.rglob("*.dcm"):
        (other / path.name).symlink_to(path)
    grid = Grid.axial((4, 5, 6), (5.0, 5.0, 5.0), (1.0, 2.0, 3.0), frame_of_reference_uid="2.25.7")
    burned = nuclear(np.ones(grid.shape) + np.arange(6), grid)
    burned.BurnedInAnnotation = "YES"
    (other / "nm.dcm").unlink()
    save(burned, other / "nm.dcm")
    script = "shutil.copytree(here / 'good', folder)\nseries()\n"
    archive = command(tmp_path, script)
    (told,) = fetch_pairs(patients(PATIENT.patient_id), archive, store, by="A")
    assert told.outcome is Outcome.REFUSED, told
    assert codes(told)[0] == "BURNED_IN"
    assert [line["event"] for line in store.audit().lines] == []


def test_two_calls_for_one_store_do_not_disturb_each_other(store: StudyStore, tmp_path: Path) -> None:
    archive = command(tmp_path, "")
    with closing(fetch_pairs(patients("A", "B"), archive, store, by="A")) as first:
        assert next(first).outcome is Outcome.NOT_FOUND
        with pytest.raises(StoreBusy):
            list(fetch_pairs(patients("C"), archive, store, by="A"))
        assert outcomes(list(first)) == ["NOT_FOUND"]


def test_after_kill_9_the_child_is_gone_and_the_next_call_clears_up(store: StudyStore, tmp_path: Path) -> None:
    script = "(folder.parent / 'half.dcm').write_text('ZZCANARY')\nprint(os.getpid(), file=sys.stderr, flush=True)\n"
    script += "sys.stdin.read()\nsys.exit(1)\n"  # as the command does, it ends with its standard input
    command(tmp_path, script)
    program = (
        "import sys\nfrom pathlib import Path\nfrom training.pairs.archive_command import ArchiveCommand\n"
        "from training.pairs.fetching import fetch_pairs\nfrom training.pairs.patient_list import ListedPatient\n"
        "from training.store.study_store import StudyStore\nstore, script = map(Path, sys.argv[1:])\n"
        "archive = ArchiveCommand('pacs', program=(sys.executable, str(script)))\n"
        "list(fetch_pairs([ListedPatient(1, 'A')], archive, StudyStore.open(store), by='A'))\n"
    )
    scratch = store.folder.with_name(".store.fetching")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program, str(store.folder), str(tmp_path / "script.py")]
    with subprocess.Popen(words, env=environment) as process:
        deadline = time.monotonic() + 60
        while not (scratch / "stderr").exists() or not (scratch / "stderr").read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child = int((scratch / "stderr").read_text())
        process.send_signal(signal.SIGKILL)
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (scratch / "half.dcm").exists()
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    assert outcomes(list(fetch_pairs(patients("A"), command(tmp_path, ""), store, by="A"))) == ["NOT_FOUND"]
    assert not scratch.exists()


def test_a_bad_list_ends_with_status_2_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("CANARY-1\nCANARY-*\nCANARY-1\n")
    words = ["fetch", "pacs", "--patients", str(tmp_path / "list.txt"), "--store", str(tmp_path / "store"), "--by", "A"]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, "PATIENT_LIST" in result.output) == (2, True), result.output
    assert "line 2" in result.output
    assert "line 3" in result.output
    assert "CANARY" not in result.output
    assert not (tmp_path / "store").exists()
