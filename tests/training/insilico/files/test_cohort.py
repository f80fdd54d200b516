import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.insilico_standins import plan_of, second_fails_and_third_dies, standin_patient
from training.errors import CohortBusy, CohortUnwritable, NoPatient, OtherCohort
from training.insilico.files.cohort import MakingResult, make_cohort, patient_folders, read_manifest
from training.insilico.files.patient_record import sha256_of
from training.insilico.files.whole_folder import WORKSHOP

ROOT = Path(__file__).parents[4]
PLAN = plan_of(3, 1)
NAMES = ("NC-001", "NC-002", "NC-003", "LC-001")

MAKER = """
import sys
from pathlib import Path
from tests.insilico_standins import plan_of, third_never_ends
from training.insilico.files.cohort import make_cohort

if __name__ == "__main__":
    make_cohort(plan_of(3, 1), Path(sys.argv[1]), workers=1, make=third_never_ends)
"""
"""Makes two patients and hangs while it writes the third."""


def digests(folder: Path) -> dict[str, str]:
    """Of all files, but for the lock and what a killed process left."""
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def patients_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir() and path.name != WORKSHOP]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort made without a break by two workers; only to be read."""
    folder = tmp_path_factory.mktemp("whole") / "cohort"
    result = make_cohort(PLAN, folder, workers=2, make=standin_patient)
    assert (len(result.made), result.failed, result.kept) == (4, (), ())
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose maker was killed with all its rights while it wrote the third patient; only to be read."""
    folder = tmp_path_factory.mktemp("killed") / "cohort"
    maker = subprocess.Popen([sys.executable, "-c", MAKER, str(folder)], cwd=ROOT)
    try:
        wait_for(lambda: list(folder.glob(f"{WORKSHOP}/NC-003.*/ct/0003.dcm")))
        workers = children_of(maker.pid)
        assert workers
    finally:
        maker.send_signal(signal.SIGKILL)
        maker.wait()
    wait_for(lambda: not any(is_running(pid) for pid in workers))
    return folder


def wait_for(state: object, limit_s: float = 120.0) -> None:
    until = time.monotonic() + limit_s
    while not state():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    """A copy of the killed cohort, to go on with."""
    return Path(shutil.copytree(killed, tmp_path / "cohort"))


def test_a_killed_maker_leaves_whole_patients_and_no_half_one(killed: Path) -> None:
    assert sorted(patients_in(killed)) == ["NC-001", "NC-002"]
    assert [each.changed_files() for each in patient_folders(killed)] == [(), ()]
    assert not read_manifest(killed)["is_complete"]
    assert list(killed.glob(f"{WORKSHOP}/*/ct/*.dcm"))


def test_what_is_gone_on_with_has_the_bytes_of_what_was_never_interrupted(interrupted: Path, whole: Path) -> None:
    before = {path: path.stat().st_ino for path in interrupted.glob("NC-*/ct/*.dcm")}
    result = make_cohort(PLAN, interrupted, workers=1, make=standin_patient)
    assert [str(patient) for patient in result.kept] == ["NC-001", "NC-002"]
    assert [str(end.task) for end in result.made] == ["NC-003", "LC-001"]
    assert {path: path.stat().st_ino for path in before} == before
    assert digests(interrupted) == digests(whole)
    assert not (interrupted / WORKSHOP).exists()


def test_the_manifest_names_every_patient_with_the_digest_of_its_record(whole: Path) -> None:
    manifest = read_manifest(whole)
    assert manifest["cohorts"] == {"non-cancer": ["NC-001", "NC-002", "NC-003"], "lung-cancer": ["LC-001"]}
    assert (manifest["is_complete"], manifest["missing"]) == (True, [])
    assert manifest["what"] == "in silico, no patient"
    assert manifest["record_sha256"] == {name: sha256_of(whole / name / "record.json") for name in NAMES}


def test_patients_of_one_cohort_differ(whole: Path) -> None:
    found = digests(whole)
    for name in ("ct/0020.dcm", "truth/perfusion.nrrd", "truth/lobes.nrrd"):
        assert len({found[f"{patient}/{name}"] for patient in NAMES}) == len(NAMES)


@pytest.fixture(scope="module")
def two_short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MakingResult]:
    """A cohort of which one patient could not be made and another's process was killed."""
    folder = tmp_path_factory.mktemp("short") / "cohort"
    return folder, make_cohort(PLAN, folder, workers=1, make=second_fails_and_third_dies)


def test_patients_that_fail_are_told_of_and_keep_no_other_from_being_made(two_short: tuple[Path, MakingResult]) -> None:
    folder, result = two_short
    reasons = {str(end.task): end.failure or "" for end in result.failed}
    assert reasons.keys() == {"NC-002", "NC-003"}
    assert "no room for a heart" in reasons["NC-002"]
    assert "killed" in reasons["NC-003"]
    assert [str(end.task) for end in result.made] == ["NC-001", "LC-001"]
    assert sorted(patients_in(folder)) == ["LC-001", "NC-001"]
    assert read_manifest(folder)["missing"] == ["NC-002", "NC-003"]


def test_a_patient_is_the_same_whoever_else_is_made(whole: Path, two_short: tuple[Path, MakingResult]) -> None:
    mine = {name: digest for name, digest in digests(two_short[0]).items() if not name.startswith("manifest")}
    assert len(mine) > 80
    assert mine.items() <= digests(whole).items()


def test_patients_of_another_plan_are_neither_kept_nor_touched(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "cohort"))
    before = digests(folder)
    with pytest.raises(OtherCohort, match="4 patient") as refused:
        make_cohort(plan_of(3, 1, seed=8), folder, workers=1, make=standin_patient)
    assert refused.value.patients == NAMES
    assert digests(folder) == before


def test_on_demand_they_are_made_anew(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "cohort"))
    other = plan_of(1, seed=8)
    result = make_cohort(other, folder, workers=1, remake=True, make=standin_patient)
    assert [str(end.task) for end in result.made] == ["NC-001"]
    assert json.loads((folder / "NC-001" / "record.json").read_text())["making"]["seed"] == 8
    assert read_manifest(folder)["cohorts"] == {"non-cancer": ["NC-001"], "lung-cancer": []}


def test_more_patients_are_added_to_those_that_are_there(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "cohort"))
    counts: list[int] = []
    result = make_cohort(plan_of(4, 1), folder, workers=1, make=standin_patient, found=counts.append)
    assert ([str(end.task) for end in result.made], counts) == (["NC-004"], [4])


def test_the_name_of_the_plan_changes_nothing(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "cohort"))
    result = make_cohort(replace(PLAN, name="renamed"), folder, workers=1, make=standin_patient)
    assert (len(result.kept), result.made) == (4, ())
    assert read_manifest(folder)["plan"]["name"] == "renamed"


def test_two_makers_do_not_work_in_one_folder(killed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "cohort"))
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CohortBusy):
            make_cohort(PLAN, folder, workers=1, make=standin_patient)
    assert list(folder.glob(f"{WORKSHOP}/*/ct/*.dcm")), "another's work was cleared away"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CohortUnwritable, match="Not a directory"):
        make_cohort(PLAN, tmp_path / "file" / "cohort", workers=1, make=standin_patient)


def test_a_folder_with_the_name_of_a_patient_and_no_record_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "NC-001").mkdir()
    with pytest.raises(NoPatient, match="NC-001"):
        make_cohort(PLAN, tmp_path, workers=1, make=standin_patient)


@pytest.mark.parametrize("content", [None, "{", '{"format": 0}'], ids=["none", "no JSON", "other format"])
def test_a_folder_without_a_good_manifest_is_no_cohort(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(NoPatient, match=r"manifest\.json"):
        read_manifest(tmp_path)
