"""Durable files: the order of events that a power cut must find."""

import os
from pathlib import Path

import pytest

from dicom_node.durable_files import make_directory, rename_directory, write_durably


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
    assert synced == [("x.part", ("x.part",)), (tmp_path.name, ("x",))]
    assert (tmp_path / "x").read_bytes() == b"hello"


def test_every_new_directory_is_durable_in_its_parent(
    tmp_path: Path, synced: list[tuple[str, tuple[str, ...]]]
) -> None:
    make_directory(tmp_path / "a" / "b")
    assert synced == [(tmp_path.name, ("a",)), ("a", ("b",))]
    make_directory(tmp_path / "a" / "b")
    assert len(synced) == 2


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
