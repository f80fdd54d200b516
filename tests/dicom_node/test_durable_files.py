"""Durable files: the order of events that a power cut must find."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.durable_files import (
    link_durably,
    make_directory,
    move_directory,
    remove_abandoned_parts,
    rename_directory,
    write_durably,
    write_flushed,
    written_durably,
)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """Name of each thing that was fsynced, with what was visible beside it at that moment."""
    events: list[tuple[str, tuple[str, ...]]] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        folder = path if path.is_dir() else path.parent
        events.append((path.name, tuple(sorted(entry.name for entry in folder.iterdir()))))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    return events


def test_a_file_gets_its_name_after_its_bytes_are_on_disk_and_then_the_name_is(
    tmp_path: Path, synced: list[tuple[str, tuple[str, ...]]]
) -> None:
    write_durably(tmp_path / "x", b"he", b"llo")
    (part, seen), named = synced
    assert part.startswith("x.")
    assert part.endswith(".part")
    assert seen == (part,)
    assert named == (tmp_path.name, ("x",))
    assert (tmp_path / "x").read_bytes() == b"hello"


def test_every_new_directory_is_durable_in_its_parent(
    tmp_path: Path, synced: list[tuple[str, tuple[str, ...]]]
) -> None:
    make_directory(tmp_path / "a" / "b")
    assert synced[-2:] == [(tmp_path.name, ("a",)), ("a", ("b",))]
    synced.clear()
    make_directory(tmp_path / "a" / "b")  # as after the death of the process that made it
    assert synced == [("a", ("b",))]


def test_a_moved_directory_is_durable_on_both_sides(tmp_path: Path, synced: list[tuple[str, tuple[str, ...]]]) -> None:
    make_directory(tmp_path / "from" / "s")
    make_directory(tmp_path / "to")
    synced.clear()
    rename_directory(tmp_path / "from" / "s", tmp_path / "to" / "s")
    assert synced == [("to", ("s",)), ("from", ())]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int) -> None:
        raise OSError("I/O error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="I/O error"):
        write_durably(tmp_path / "x", b"hello")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_even_if_the_disk_takes_a_few_bytes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "writev", lambda descriptor, views: os.write(descriptor, views[0][:3]))
    write_flushed(tmp_path / "x", b"", b"he", memoryview(b"llo world"), b"!")
    assert (tmp_path / "x").read_bytes() == b"hello world!"


def test_a_disk_that_becomes_full_in_the_middle_of_a_file_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_durably(tmp_path / "x", bytes(9_000), bytes(9_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"first")
    with pytest.raises(FileExistsError):
        write_flushed(tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"


_WRITER = """
import sys, time
from pathlib import Path
from dicom_node.durable_files import written_durably
with written_durably(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_dead_process_left_half_written_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "case" / "x")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        assert remove_abandoned_parts(tmp_path) == 0
        writer.kill()
        writer.wait()
    assert len(list(tmp_path.rglob("*.part"))) == 1
    assert remove_abandoned_parts(tmp_path) == 1
    assert list((tmp_path / "case").iterdir()) == []


def test_two_that_write_the_same_file_at_once_do_not_mix_and_one_wins(tmp_path: Path) -> None:
    with written_durably(tmp_path / "x") as one, written_durably(tmp_path / "x") as two:
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "x").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_writer_that_fails_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    def fail() -> None:
        with written_durably(tmp_path / "x") as part:
            part.write_text("new")
            raise ValueError("cannot")

    (tmp_path / "x").write_text("old")
    with pytest.raises(ValueError, match="cannot"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_a_directory_moves_to_another_disk_whole(tmp_path: Path, other_disk: Path) -> None:
    (tmp_path / "s" / "deep").mkdir(parents=True)
    (tmp_path / "s" / "deep" / "x").write_text("hello")
    (other_disk / "scratch").mkdir()  # of a move that was killed
    (other_disk / "scratch" / "half").touch()
    move_directory(tmp_path / "s", other_disk / "t", other_disk / "scratch")
    assert (other_disk / "t" / "deep" / "x").read_text() == "hello"
    assert [path.name for path in other_disk.iterdir()] == ["t"]
    assert list(tmp_path.iterdir()) == []


def test_a_copy_on_another_disk_has_no_name_before_its_bytes_are_on_disk(
    tmp_path: Path, other_disk: Path, synced: list[tuple[str, tuple[str, ...]]]
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "x").write_text("hello")
    move_directory(tmp_path / "s", other_disk / "t", other_disk / "scratch")
    names = [name for name, _ in synced]
    assert names.index("x") < names.index("scratch") < names.index(other_disk.name)
    assert all("t" not in seen for name, seen in synced if name in ("x", "scratch"))


def test_a_link_to_another_disk_is_a_copy(tmp_path: Path, other_disk: Path) -> None:
    (tmp_path / "x").write_text("hello")
    link_durably(tmp_path / "x", tmp_path / "y")
    link_durably(tmp_path / "x", other_disk / "x")
    assert (tmp_path / "y").samefile(tmp_path / "x")
    assert (other_disk / "x").read_text() == "hello"
    assert [path.name for path in other_disk.iterdir()] == ["x"]
