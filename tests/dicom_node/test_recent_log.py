"""The newest log lines: bounded, shared by processes, without patients, and never in the way of what is logged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.recent_log import LogPlace, RecentLog

WRITER = """
import sys
from pathlib import Path
from dicom_node.recent_log import RecentLog
log = RecentLog(Path(sys.argv[1]), largest_bytes=int(sys.argv[3]))
for number in range(300):
    log.add('{"event": "e", "who": %s, "number": %d}' % (sys.argv[2], number))
"""
LOGGING = """
import logging, sys
from pathlib import Path
import structlog
from dicom_node.logs import configure_logs
from dicom_node.recent_log import RecentLog
configure_logs("info", "text", RecentLog(Path(sys.argv[1])))
log = structlog.get_logger("dicom_node.test")
log.info("case_opened", case="0123456789abcdef", instances=3)
log.debug("not_wanted")
try:
    raise ValueError("ZZCANARY^PHI")
except ValueError:
    log.exception("it_failed", code="SOMETHING")
logging.getLogger("some.library").warning("about %s", "ZZCANARY")
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)


def test_what_is_logged_is_there_as_json_and_names_no_patient(tmp_path: Path) -> None:
    said = run(LOGGING, str(tmp_path / "logs")).stderr
    entries, _ = RecentLog(tmp_path / "logs").read()
    assert [entry["event"] for entry in entries] == ["case_opened", "it_failed", "library_message"]
    assert entries[0]["case"] == "0123456789abcdef"
    assert entries[1]["fault"][0]["kind"] == "ValueError"
    content = (tmp_path / "logs" / "recent.jsonl").read_text()
    assert "ZZCANARY" not in content
    assert "case_opened" in said, "standard error gets it as before"
    assert not said.startswith("{")
    assert (tmp_path / "logs").stat().st_mode & 0o077 == 0
    assert (tmp_path / "logs" / "recent.jsonl").stat().st_mode & 0o077 == 0


def test_both_files_are_bounded_and_hold_the_newest_lines(tmp_path: Path) -> None:
    log = RecentLog(tmp_path, largest_bytes=2000)
    for number in range(500):
        log.add(json.dumps({"number": number}))
    entries, _ = log.read()
    numbers = [entry["number"] for entry in entries]
    assert numbers == list(range(numbers[0], 500)), "in order, without a gap, up to the last"
    assert len(numbers) > 50
    assert sum(path.stat().st_size for path in (log.newest, log.before)) < 2 * 2100


def test_several_processes_lose_and_mix_no_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(who), str(1 << 20)]) for who in range(3)]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    entries, _ = RecentLog(tmp_path).read()
    for who in range(3):
        assert [entry["number"] for entry in entries if entry["who"] == who] == list(range(300))


def test_processes_that_turn_the_file_at_the_same_time_leave_whole_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(who), "1500"]) for who in range(3)]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    lines = [line for path in (tmp_path / "recent-before.jsonl", tmp_path / "recent.jsonl") if path.exists()
             for line in path.read_text().splitlines()]  # fmt: skip
    assert lines
    assert all(json.loads(line)["event"] == "e" for line in lines)


def test_who_follows_gets_each_line_once_also_when_the_file_turns(tmp_path: Path) -> None:
    log = RecentLog(tmp_path, largest_bytes=600)
    seen: list[int] = []
    place: LogPlace | None = None
    for number in range(200):
        log.add(json.dumps({"number": number}))
        if number % 3 == 0:
            entries, place = log.read(place)
            seen += [entry["number"] for entry in entries]
    assert seen == list(range(199))


def test_a_line_that_is_being_written_is_shown_when_it_is_whole(tmp_path: Path) -> None:
    log = RecentLog(tmp_path)
    log.add('{"number": 1}')
    with log.newest.open("ab") as file:
        file.write(b'{"number"')
    entries, place = log.read()
    assert [entry["number"] for entry in entries] == [1]
    with log.newest.open("ab") as file:
        file.write(b": 2}\n")
    assert [entry["number"] for entry in log.read(place)[0]] == [2]


def test_a_place_that_is_gone_begins_anew(tmp_path: Path) -> None:
    log = RecentLog(tmp_path)
    assert log.read() == ([], LogPlace())
    log.add('{"number": 1}')
    log.add("no JSON")
    log.add("[1]")
    log.add("x" * 20_000)
    assert [entry["number"] for entry in log.read(LogPlace(1, 5))[0]] == [1]
    _, place = log.read()
    assert LogPlace.parse(str(place)) == place
    assert [entry["number"] for entry in log.read(LogPlace(place.file, 1 << 40))[0]] == [1]
    with pytest.raises(ValueError, match="invalid literal"):
        LogPlace.parse("x")


def test_only_lines_that_mention_it(tmp_path: Path) -> None:
    log = RecentLog(tmp_path)
    log.add('{"case": "aa", "number": 1}')
    log.add('{"case": "bb", "number": 2}')
    assert [entry["number"] for entry in log.read(mentioning="bb")[0]] == [2]


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert "case_opened" in run(LOGGING, str(tmp_path / "logs")).stderr
