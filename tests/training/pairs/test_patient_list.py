"""A list of patients is taken as it stands or refused as a whole, with every bad line and no Patient ID."""

from pathlib import Path

import pytest

from training.errors import PatientListUnusable
from training.pairs.patient_list import LARGEST_BYTES, ListedPatient, read_patient_list


def listed(folder: Path, content: bytes) -> Path:
    (folder / "patients.txt").write_bytes(content)
    return folder / "patients.txt"


def test_lines_are_patients_and_comments_are_not(tmp_path: Path) -> None:
    path = listed(tmp_path, "\ufeff# March\n 4711 \r\n\n0815\n  # more\nMÜ 12#3\n".encode())
    assert read_patient_list(path) == (
        ListedPatient(2, "4711"),
        ListedPatient(4, "0815"),
        ListedPatient(6, "MÜ 12#3"),
    )


def test_every_bad_line_is_told_by_its_number_and_without_the_patient(tmp_path: Path) -> None:
    lines = [
        "CANARY1",
        "CANARY*",
        "CANARY?",
        "CANARY\\X",
        "CANARY\t1950",
        "C" * 65,
        "Canary1",
        "CANARY2 # Mr X",
        "C" * 64,
    ]
    path = listed(tmp_path, "\n".join(lines).encode() + b"\nCANARY\xff\n")
    with pytest.raises(PatientListUnusable) as caught:
        read_patient_list(path)
    problems = caught.value.problems
    assert [problem.partition(":")[0] for problem in problems] == [f"line {n}" for n in (2, 3, 4, 5, 6, 7, 8, 10)]
    assert "the same as line 1" in problems[5]
    assert "UTF-8" in problems[-1]
    assert "canary" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("content", "reason"), [(b"# nobody\n\n", "no patient"), (b"1\n" * (LARGEST_BYTES // 2 + 1), "megabyte")]
)
def test_a_file_that_is_no_list_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(PatientListUnusable, match=reason):
        read_patient_list(listed(tmp_path, content))
