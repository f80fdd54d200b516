"""Cases are found by what people type, page by page; what they type is never more than text."""

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.case_line import CaseLine
from dicom_node.web.today.case_search import BadCursor, CaseQuery, find_cases
from dicom_node.web.today.subject import Subject

LINE = CaseLine("", "DELIVERED", "verify", "", "", 0, 0, 9, "CT", "rule", "normal", 200, "m 1", 0, "", Subject())
NAMES = {
    "a1": Subject("PID-1", "Müller^Anna", "ACC1"),
    "a2": Subject("PID_2", "Mueller^Annabel", "ACC2"),
    "a3": Subject("PID%3", "O'Neil^Zoë=山田^太郎", "A'CC"),
    "a4": Subject('"; drop table cases; --', "<script>^X", "ACC_"),
    "a5": Subject("pid-15", "Schmidt^Anna Lena", "ACC15"),
}


@pytest.fixture
def index(tmp_path: Path) -> CaseIndex:
    made = CaseIndex.under(tmp_path)
    made.prepare()
    made.put(
        replace(LINE, case_id=case_id, created_ms=1000 * number, subject=subject)
        for number, (case_id, subject) in enumerate(NAMES.items(), start=1)
    )
    return made


def found(index: CaseIndex, query: CaseQuery) -> list[str]:
    page = find_cases(index, query)
    assert page.matching == len(page.lines)
    return sorted(line.case_id for line in page.lines)


@pytest.mark.parametrize(
    ("query", "case_ids"),
    [
        (CaseQuery(patient_id="pid-1"), ["a1", "a5"]),
        (CaseQuery(patient_id="PID_"), ["a2"]),
        (CaseQuery(patient_id="PID%"), ["a3"]),
        (CaseQuery(patient_id="%"), []),
        (CaseQuery(patient_id="_"), []),
        (CaseQuery(patient_id="' or '1'='1"), []),
        (CaseQuery(patient_id='"; drop table cases; --'), ["a4"]),
        (CaseQuery(accession_number="A'CC"), ["a3"]),
        (CaseQuery(accession_number="ACC_"), ["a4"]),
        (CaseQuery(accession_number="acc1"), ["a1", "a5"]),
        (CaseQuery(patient_name="anna"), ["a1", "a2", "a5"]),
        (CaseQuery(patient_name="MULLER ann"), ["a1"]),
        (CaseQuery(patient_name="ann mul"), ["a1"]),
        (CaseQuery(patient_name="nna"), []),
        (CaseQuery(patient_name="o'neil"), ["a3"]),
        (CaseQuery(patient_name="zoe"), ["a3"]),
        (CaseQuery(patient_name="山"), ["a3"]),
        (CaseQuery(patient_name="<script>"), ["a4"]),
        (CaseQuery(patient_name="%"), []),
        (CaseQuery(patient_name="'"), []),
        (CaseQuery(case_id="A1"), ["a1"]),
        (CaseQuery(text="pid-1", sees_patients=True), ["a1", "a5"]),
        (CaseQuery(text="schmidt", sees_patients=True), ["a5"]),
        (CaseQuery(text="a", sees_patients=True), ["a1", "a2", "a3", "a4", "a5"]),
        (CaseQuery(text="a1"), ["a1"]),
        (CaseQuery(text="pid-1"), []),
        (CaseQuery(text="schmidt"), []),
        (CaseQuery(text="x\0y\ud800".encode("utf-8", "replace").decode(), sees_patients=True), []),
        (CaseQuery(since_s=2.0, until_s=4.0), ["a2", "a3"]),
        (CaseQuery(patient_name="anna", patient_id="pid-1", since_s=2.0), ["a5"]),
    ],
)
def test_everything_that_is_given_must_fit(index: CaseIndex, query: CaseQuery, case_ids: list[str]) -> None:
    assert found(index, query) == case_ids
    assert len(index.case_ids("true")) == len(NAMES)


def test_states_are_any_of_those_given(index: CaseIndex) -> None:
    index.put([replace(LINE, case_id="b1", state="HELD"), replace(LINE, case_id="b2", state="FAILED")])
    assert found(index, CaseQuery(states=(CaseState.HELD, CaseState.FAILED))) == ["b1", "b2"]
    assert found(index, CaseQuery(states=(CaseState.REJECTED,))) == []


def test_pages_follow_each_other_though_cases_come_and_go_and_times_are_equal(tmp_path: Path) -> None:
    index = CaseIndex.under(tmp_path)
    index.prepare()
    index.put(replace(LINE, case_id=f"{number:04x}", created_ms=number // 7) for number in range(100))
    seen: list[str] = []
    cursor = ""
    while True:
        page = find_cases(index, CaseQuery(), limit=9, cursor=cursor)
        seen += [line.case_id for line in page.lines]
        index.put([replace(LINE, case_id=f"new{len(seen)}", created_ms=10_000 + len(seen))])
        index.remove([page.lines[-1].case_id])
        if not (cursor := page.next_cursor):
            break
    assert seen == [f"{number:04x}" for number in reversed(range(100))]


def test_the_last_page_says_so_and_a_cursor_is_ours_or_refused(index: CaseIndex) -> None:
    assert find_cases(index, CaseQuery(), limit=5).next_cursor == ""
    assert find_cases(index, CaseQuery(), limit=4).next_cursor == "2000.a2"
    for cursor in ("x", "1", "1.' or 1", "-1.a", "1.a\n", "9" * 40 + ".a", "١.a"):
        with pytest.raises(BadCursor):
            find_cases(index, CaseQuery(), cursor=cursor)


def test_a_case_that_is_put_again_is_found_by_its_new_name_alone(index: CaseIndex) -> None:
    index.put([replace(LINE, case_id="a1", subject=Subject("other", "Weber^Ida"))])
    assert found(index, CaseQuery(patient_name="anna")) == ["a2", "a5"]
    assert found(index, CaseQuery(patient_name="ida")) == ["a1"]
    index.remove(["a1"])
    assert found(index, CaseQuery(patient_name="ida")) == []
