"""Durable files: the order of events that a power cut must find."""

import os
import resource
import signal
from pathlib import Path

import pytest

from dicom_node.durable_files import make_directory, rename_directory, write_durably, write_flushed


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
