"""Cases on disk: what is read is what was written, and damage is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.drawn_cases import drawn_case
from training.case_files import case_file, kept_digest, prepared_patients, read_case, read_cases, write_case
from training.errors import CaseUnusable
from training.study_case import StudyCase


def _case() -> StudyCase:
    """A case in which every array and every fact is its own."""
    case = drawn_case("LC-007", seed=3)
    facts = replace(
        case.facts,
        hospital="hospital-b",
        diseases=("embolism", "tumour"),
        disease_percent={"tumour": 1.5},
        true_lobe_means={"RUL": 0.8},
        input_statistics={"noise": 12.5},
    )
    return replace(
        case,
        defects=(case.lungs & (case.truth < 0.8)).astype(np.uint8),
        truth=case.truth * np.float32(0.5),
        baselines=np.stack([case.truth * np.float32(k) for k in range(4)]),
        facts=facts,
    )


def test_a_case_is_read_as_it_was_written(tmp_path: Path) -> None:
    case = _case()
    write_case(tmp_path / "LC-007.npz", case, digest="abc")
    again = read_case(tmp_path / "LC-007.npz")
    for name in ("patient", "cohort", "channel_names", "facts"):
        assert getattr(again, name) == getattr(case, name)
    assert again.grid.matches(case.grid)
    for name in ("lungs", "eroded", "lobes", "defects"):
        assert np.array_equal(getattr(again, name), getattr(case, name)), name
    for name in ("target", "truth", "baselines"):
        assert np.allclose(getattr(again, name), getattr(case, name), rtol=2**-11, atol=0), name
    assert np.abs(again.channels - case.channels).max() <= 0.5 / 2048
    assert again.channels.dtype == again.target.dtype == np.float32


def test_multiples_of_the_step_are_kept_exactly(tmp_path: Path) -> None:
    case = _case()
    case = replace(case, channels=np.round(case.channels * 2048) / np.float32(2048))
    write_case(tmp_path / "a.npz", case)
    assert np.array_equal(read_case(tmp_path / "a.npz").channels, case.channels)


def test_equal_cases_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_case(tmp_path / f"{name}.npz", _case(), digest="abc")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_digest_is_kept_with_the_case(tmp_path: Path) -> None:
    write_case(tmp_path / "a.npz", _case(), digest="abc")
    assert kept_digest(tmp_path / "a.npz") == "abc"
    assert kept_digest(tmp_path / "none.npz") is None


def test_cases_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    for name in ("LC-002", "LC-001"):
        write_case(case_file(tmp_path, name), replace(_case(), patient=name))
    assert prepared_patients(tmp_path) == ("LC-001", "LC-002")
    assert [case.patient for case in read_cases(tmp_path, ["LC-002", "LC-001"])] == ["LC-002", "LC-001"]


def test_a_file_cut_short_is_told_and_counts_as_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_case(path, _case(), digest="abc")
    path.write_bytes(path.read_bytes()[:-200])
    assert kept_digest(path) is None
    with pytest.raises(CaseUnusable, match=r"a\.npz"):
        read_case(path)


def test_a_case_of_another_format_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.case_files.FORMAT", 99)
    write_case(tmp_path / "a.npz", _case())
    monkeypatch.undo()
    with pytest.raises(CaseUnusable, match="format 99, this version reads 1"):
        read_case(tmp_path / "a.npz")
    assert kept_digest(tmp_path / "a.npz") is None
