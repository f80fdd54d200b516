"""Cohorts for tests: the shipped tiny one with a few of its numbers changed."""

from pathlib import Path

from tests.training.conftest import ROOT, perfnode


def make_cohort(folder: Path, *changes: tuple[str, str]) -> Path:
    """Patients as DICOM, by the command.

    Args:
        folder: made if absent.
        changes: texts of the tiny plan, each there once, and what to put there.
    """
    plan = (ROOT / "configs" / "cohort" / "tiny.toml").read_text()
    for old, new in changes:
        assert plan.count(old) == 1, old
        plan = plan.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(plan)
    made = perfnode("cohort", "make", "--config", folder / "plan.toml", "--out", folder / "cohort", "--workers", 2)
    assert made.returncode == 0, made.stderr
    return folder / "cohort"
