"""Whose images a case holds, and how names are shown and compared."""

from pathlib import Path

import pytest

from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.patient_name import shown_name
from dicom_node.web.today.subject import NOBODY, subject_of, words_of
from tests.dicom_node.web.today.made_cases import DELIVERED, SCRIPT, YAMADA, MadeCase, write_image


def read(folder: Path, made: MadeCase) -> tuple[str, str, str, str]:
    write_image(folder / "received", made)
    found = subject_of(CaseFolder(folder))
    return found.patient_name, found.patient_id, found.accession_number, found.study_date


def test_a_header_is_read_as_its_character_set_says(tmp_path: Path) -> None:
    assert read(tmp_path / "a", DELIVERED) == ("Müller^Anna Maria", "PID-100", "ACC 77", "2026-03-01")
    latin = MadeCase("x", "Müller^Jürgen", "1", character_set="ISO_IR 100")
    assert read(tmp_path / "b", latin)[0] == "Müller^Jürgen"
    assert read(tmp_path / "c", YAMADA)[0] == YAMADA.patient_name
    assert read(tmp_path / "d", SCRIPT)[0] == SCRIPT.patient_name


def test_what_is_no_date_is_none_and_old_dates_are(tmp_path: Path) -> None:
    assert read(tmp_path / "a", MadeCase("x", "A", "1", header={"StudyDate": ""}))[3] == ""
    path = write_image(tmp_path / "b" / "received", MadeCase("x", "A", "1", header={"StudyDate": "20260301"}))
    path.write_bytes(path.read_bytes().replace(b"20260301", b"2026.3.1"))
    assert subject_of(CaseFolder(tmp_path / "b")).study_date == ""


def test_an_image_that_cannot_be_read_is_of_nobody(tmp_path: Path) -> None:
    assert subject_of(CaseFolder(tmp_path)) == NOBODY
    (tmp_path / "received").mkdir()
    (tmp_path / "received" / "a.dcm").write_bytes(b"\0" * 300)
    assert subject_of(CaseFolder(tmp_path)) == NOBODY


def test_a_header_with_line_breaks_and_bells_is_one_line(tmp_path: Path) -> None:
    path = write_image(tmp_path / "received", MadeCase("x", "AB^CD", "1234567"))
    path.write_bytes(path.read_bytes().replace(b"1234567", b"12\n4\x076"))
    assert subject_of(CaseFolder(tmp_path)).patient_id in ("12 4 6", "")
    assert "\n" not in subject_of(CaseFolder(tmp_path)).patient_id


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller^Anna Maria", "Müller, Anna Maria"),
        ("Müller^Anna^Maria^Dr^PhD", "Müller, Anna Maria Dr PhD"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田 太郎)"),
        ("=山田^太郎", "山田 太郎"),
        ("=", ""),
        ("^^^", ""),
        ("", ""),
        ("^Anna", "Anna"),
    ],
)
def test_names_are_shown_for_people(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_words_are_compared_without_case_and_accents() -> None:
    assert words_of("MÜLLER^Anna-Zoë") == words_of("müller anna zoe") == words_of("Muller, Anna Zoe")
    assert words_of("O'Neil") == ["o", "neil"]
    assert words_of("%_'\"^") == []
