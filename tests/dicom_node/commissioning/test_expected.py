"""A stored answer, how it compares, and files that hold none."""

import json
from pathlib import Path

import pytest

from dicom_node.commissioning.expected import ExpectedAnswer, MadeBy, Recorded
from dicom_node.commissioning.figures import FIGURES, OURS
from dicom_node.errors import ReferenceUnusable

MAKER = MadeBy("atlas 1", "densitometric 1", "median", "ab")
FOUND = {"lung_volume": 4000.0, "right_share": 55.0, "lung_hu": -820.0}


def stored(tmp_path: Path) -> ExpectedAnswer:
    ExpectedAnswer.of(MAKER, FOUND).write(tmp_path / "set" / "expected.json")
    return ExpectedAnswer.read(tmp_path / "set" / "expected.json")


def moved(answer: ExpectedAnswer, **changed: float) -> list[str]:
    return [c.name for c in answer.compared({**FOUND, **changed}) if not c.passes]


def test_an_answer_passes_within_its_tolerance_and_not_beyond(tmp_path: Path) -> None:
    answer = stored(tmp_path)
    assert answer == ExpectedAnswer.of(MAKER, FOUND)
    assert moved(answer) == []
    assert moved(answer, lung_volume=4040.0, right_share=54.5, lung_hu=-818.0) == []
    assert moved(answer, lung_volume=4040.1) == ["lung_volume"]
    assert moved(answer, right_share=54.49) == ["right_share"]
    assert moved(answer, lung_hu=-817.9) == ["lung_hu"]


def test_a_figure_that_one_side_lacks_is_a_difference(tmp_path: Path) -> None:
    answer = stored(tmp_path)
    assert moved(answer, out_of_domain=0.5) == ["out_of_domain"]
    fewer = {name: value for name, value in FOUND.items() if name != "right_share"}
    assert [c.name for c in answer.compared(fewer) if not c.passes] == ["right_share"]


def test_a_figure_that_is_no_number_passes_nowhere(tmp_path: Path) -> None:
    assert moved(stored(tmp_path), lung_hu=float("nan")) == ["lung_hu"]
    with pytest.raises(ReferenceUnusable, match="lung_hu"):
        ExpectedAnswer.of(MAKER, {"lung_hu": float("nan")})


def test_a_tolerance_that_a_person_wrote_holds(tmp_path: Path) -> None:
    path = tmp_path / "set" / "expected.json"
    stored(tmp_path)
    fields = json.loads(path.read_text())
    fields["figures"]["right_share"]["tolerance"] = 2.0
    path.write_text(json.dumps(fields))
    assert moved(ExpectedAnswer.read(path), right_share=56.9) == []
    assert moved(ExpectedAnswer.read(path), right_share=57.1) == ["right_share"]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.update(format=2),
        lambda f: f.update(figures={}),
        lambda f: f.pop("made_by"),
        lambda f: f["figures"]["lung_hu"].update(tolerance=-1.0),
        lambda f: f["figures"]["lung_hu"].update(tolerance=float("inf")),
        lambda f: f["figures"]["lung_hu"].update(value="many"),
        lambda f: f["figures"]["lung_hu"].update(extra=1),
        lambda f: f["figures"]["lung_hu"].update(unit="mm"),
        lambda f: f["figures"]["lung_hu"].update(source=3),
        lambda f: f.update(recorded={"by": "nobody"}),
    ],
)
def test_a_file_that_is_no_stored_answer_is_refused(tmp_path: Path, change: object) -> None:
    path = tmp_path / "set" / "expected.json"
    stored(tmp_path)
    fields = json.loads(path.read_text())
    change(fields)  # type: ignore[operator]
    path.write_text(json.dumps(fields))
    with pytest.raises(ReferenceUnusable):
        ExpectedAnswer.read(path)


def test_every_figure_has_a_tolerance_that_can_be_missed() -> None:
    assert all(kind.tolerance > 0.0 and kind.relative < 0.1 for kind in FIGURES.values())


def test_who_recorded_an_answer_and_of_which_ct_is_kept(tmp_path: Path) -> None:
    recorded = Recorded("2026-11-26T05:30:00+00:00", "A. Physicist", "1", "ab" * 32)
    ExpectedAnswer.of(MAKER, FOUND, recorded).write(tmp_path / "expected.json")
    assert ExpectedAnswer.read(tmp_path / "expected.json").recorded == recorded
    assert stored(tmp_path).recorded is None


def test_tolerances_that_a_person_wrote_survive_a_new_record_and_name_their_source(tmp_path: Path) -> None:
    fields = json.loads((tmp_path / "set" / "expected.json").read_text()) if stored(tmp_path) else {}
    fields["figures"]["right_share"].update(tolerance=2.0, source="our repeat scans, 2026")
    fields["figures"]["lung_hu"].update(tolerance=5.0)
    (tmp_path / "set" / "expected.json").write_text(json.dumps(fields))
    before = ExpectedAnswer.read(tmp_path / "set" / "expected.json")
    assert {c.source for c in before.compared(FOUND)} == {OURS, "our repeat scans, 2026"}
    anew = ExpectedAnswer.of(MAKER, {**FOUND, "lung_volume": 5000.0}, None, before).figures
    assert (anew["right_share"].tolerance, anew["right_share"].source) == (2.0, "our repeat scans, 2026")
    assert anew["lung_hu"].tolerance == 5.0
    assert (anew["lung_volume"].value, anew["lung_volume"].tolerance) == (5000.0, 50.0), "the usual one is made anew"


def test_what_differs_between_two_makers_is_told() -> None:
    assert MAKER.differs_from(MAKER) == ()
    other = MadeBy("atlas 1", "network 2", "median", "cd")
    assert other.differs_from(MAKER) == ("map", "settings")
