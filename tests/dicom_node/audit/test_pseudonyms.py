import subprocess
import sys
from pathlib import Path

from pydicom.uid import UID

from dicom_node.audit.pseudonyms import Identifiers, read_key

KEY = b"k" * 32


def test_the_same_patient_has_the_same_pseudonym_on_one_node_and_another_on_another() -> None:
    here, there = Identifiers(KEY), Identifiers(b"x" * 32)
    assert here.patient("PAT1") == here.patient("PAT1")
    assert len({here.patient("PAT1"), here.patient("PAT2"), there.patient("PAT1")}) == 3
    assert "PAT1" not in here.patient("PAT1")


def test_the_pseudonym_of_a_study_is_a_valid_uid_that_says_nothing_about_the_patient() -> None:
    pseudonym = UID(Identifiers(KEY).study("1.2.3"))
    assert pseudonym.is_valid
    assert pseudonym.startswith("2.25.")
    assert f"{int(Identifiers(KEY).patient('1.2.3'), 16)}" not in pseudonym


def test_a_missing_identity_stays_missing() -> None:
    assert Identifiers(KEY).patient("") == ""
    assert Identifiers(KEY).study("") == ""


def test_plain_identifiers_are_as_they_are() -> None:
    assert (Identifiers(None).patient("PAT1"), Identifiers(None).study("1.2.3")) == ("PAT1", "1.2.3")


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = read_key(path)
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    assert read_key(path) == key
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dicom_node.audit.pseudonyms import read_key\n"
        "sys.stdin.read(1); print(read_key(Path(sys.argv[1])).hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "key")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {process.communicate("g", timeout=30)[0] for process in processes}
    assert len(keys) == 1
