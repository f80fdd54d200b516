import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from dicom_node.audit.chain import START, AuditLog, Link, verify


def message(text: str) -> Callable[[Link], bytes]:
    return lambda link: f"{link.structured_data()} {text}</AuditMessage>".encode()


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "audit.log"


def filled(log_file: Path, count: int = 10) -> list[bytes]:
    log = AuditLog(log_file)
    for number in range(count):
        log.append(message(f"event {number}"))
    return log_file.read_bytes().splitlines(keepends=True)


def test_each_line_carries_its_number_and_the_hash_of_the_line_before(log_file: Path) -> None:
    lines = filled(log_file, 3)
    assert f'line="1" previous="{START}"'.encode() in lines[0]
    assert f'line="3" previous="{sha256(lines[1][:-1]).hexdigest()}"'.encode() in lines[2]
    found = verify(log_file)
    assert (found.lines, found.fault, found.last_hash) == (3, "", sha256(lines[2][:-1]).hexdigest())


def test_the_file_is_readable_by_its_owner_only(log_file: Path) -> None:
    before = os.umask(0)
    try:
        filled(log_file, 1)
    finally:
        os.umask(before)
    assert log_file.stat().st_mode & 0o777 == 0o600


TAMPERING: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a word is altered": lambda x: [*x[:4], x[4].replace(b"event 4", b"event 5"), *x[5:]],
    "a line is removed": lambda x: [*x[:4], *x[5:]],
    "the first line is removed": lambda x: x[1:],
    "two lines are exchanged": lambda x: [*x[:4], x[5], x[4], *x[6:]],
    "a line is inserted": lambda x: [*x[:4], x[3], *x[4:]],
    "nonsense is inserted": lambda x: [*x[:4], b"nothing to see\n", *x[4:]],
    "the link is removed from a line": lambda x: [*x[:4], x[4].replace(b"chain@", b"chain#"), *x[5:]],
}


@pytest.mark.parametrize("kind", TAMPERING)
def test_every_tampering_is_found_at_its_place(kind: str, log_file: Path) -> None:
    lines = filled(log_file)
    log_file.write_bytes(b"".join(TAMPERING[kind](lines)))
    found = verify(log_file)
    assert found.fault, kind
    assert found.lines in ((0,) if kind == "the first line is removed" else (4, 5)), found.fault


def test_a_cut_end_shows_in_the_number_of_lines_and_the_last_hash_only(log_file: Path) -> None:
    lines = filled(log_file)
    whole = verify(log_file)
    log_file.write_bytes(b"".join(lines[:7]))
    cut = verify(log_file)
    assert (cut.fault, cut.lines) == ("", 7)
    assert cut.last_hash != whole.last_hash


@pytest.mark.parametrize("kept_bytes", [1, 10, 60, 120, -1])
def test_the_chain_goes_on_over_a_line_that_a_crash_cut_off(kept_bytes: int, log_file: Path) -> None:
    lines = filled(log_file, 5)
    log_file.write_bytes(b"".join(lines[:4]) + lines[4][:kept_bytes])
    AuditLog(log_file).append(message("after the crash"))
    AuditLog(log_file).append(message("and one more"))
    found = verify(log_file)
    assert (found.lines, found.fault) == (7, "")
    assert found.torn == (() if kept_bytes == -1 else (5,))
    after = log_file.read_bytes().splitlines(keepends=True)
    log_file.write_bytes(b"".join([*after[:4], *after[5:]]))  # nor can the cut line be removed unseen
    assert verify(log_file).fault


def test_threads_and_processes_write_one_chain(log_file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dicom_node.audit.chain import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]))\n"
        "for n in range(25): log.append(lambda k: f'{k.structured_data()} {sys.argv[2]}.{n}</AuditMessage>'.encode())\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(log_file), f"p{n}"]) for n in range(3)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: AuditLog(log_file).append(message(f"t.{n}")), range(25)))
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    found = verify(log_file)
    assert (found.lines, found.fault, found.torn) == (100, "", ())
    for writer in ("p0.", "p1.", "p2.", "t."):
        assert log_file.read_bytes().count(f" {writer}".encode()) == 25


def test_a_message_with_a_line_end_is_not_written(log_file: Path) -> None:
    with pytest.raises(ValueError, match="one line"):
        AuditLog(log_file).append(message("two\nlines"))
    assert log_file.read_bytes() == b""


def test_a_file_without_any_message_is_not_taken_for_an_unbroken_trail(log_file: Path) -> None:
    log_file.parent.mkdir()
    log_file.write_text("nothing to see\n")
    assert verify(log_file).fault == "no line is an audit message"
    log_file.write_text("")
    assert (verify(log_file).lines, verify(log_file).fault) == (0, "")


def test_a_line_number_that_was_left_out_is_a_fault(log_file: Path) -> None:
    first = filled(log_file, 1)[0]
    link = Link(3, sha256(first[:-1]).hexdigest())  # as a new chain over a removed line would begin
    log_file.write_bytes(first + message("event")(link) + b"\n")
    assert verify(log_file).fault == "line 2 says that it is line 3"
