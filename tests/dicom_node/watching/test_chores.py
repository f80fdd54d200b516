"""Chores come round; one that fails comes round again, and some are done by one host at a time."""

from pathlib import Path

from structlog.testing import capture_logs

from dicom_node.jobs.job_database import JobDatabase
from dicom_node.named_locks import NamedLocks
from dicom_node.watching.chores import Chore, Chores
from tests.peers import eventually


def _locks(data_dir: Path) -> NamedLocks:
    return NamedLocks(JobDatabase.under(data_dir), data_dir)


def test_a_chore_comes_round_and_one_that_fails_does_too_and_is_logged_once(tmp_path: Path) -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("failed")
        raise ValueError("Doe^John")

    chores = Chores(
        [Chore("good", 0.01, lambda: done.append("good")), Chore("bad", 0.01, fail)],
        _locks(tmp_path),
    )
    with capture_logs() as events:
        chores.start()
        assert eventually(lambda: done.count("good") >= 3 and done.count("failed") >= 3)
        chores.stop()
    assert [(event["chore"], event["kind"]) for event in events] == [("bad", "ValueError")]
    assert "Doe" not in str(events)


def test_what_one_host_does_for_all_is_left_out_while_another_host_does_it(tmp_path: Path) -> None:
    done: list[str] = []
    shared = Chore("shared", 0.01, lambda: done.append("shared"), once_for_all_hosts=True)
    chores = Chores([shared, Chore("own", 0.01, lambda: done.append("own"))], _locks(tmp_path))
    with _locks(tmp_path).hold("chore:shared"):
        chores.start()
        assert eventually(lambda: done.count("own") >= 5)
        assert "shared" not in done
    assert eventually(lambda: "shared" in done)
    chores.stop()
