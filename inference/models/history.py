"""Which model made the maps, and since when: one line of JSON for each change, each with the hash of the line before.

Whoever alters, removes or inserts a line breaks the chain from there on. The newest line also stands alone in
`in-force.json`, which is written first and is the truth (`promotion`); a crash between the two leaves the history one
line short, which the next change makes good. A line that a crash cut has no line end and is no line.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from inference.models.manifest import Digest
from inference.models.whole_files import FILE_MODE, sync_folder

START = "0" * 64
"""Hash that the first line carries."""
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, config=_STRICT)
class ChosenModel:
    """A model of the registry, as the history names it."""

    name: str
    version: str
    content_sha256: Digest
    manifest_sha256: Digest


@dataclass(frozen=True, slots=True, config=_STRICT)
class Change:
    """One change of the model in force."""

    line: Annotated[int, Field(ge=1, strict=True)]
    previous: Digest
    """SHA-256 of the line before, without its line end."""
    at: str
    """UTC, ISO 8601."""
    what: Literal["promote", "rollback"]
    model: ChosenModel | None
    """In force from here on; None for the model that comes with the node."""
    earlier: tuple[ChosenModel | None, ...]
    """What a rollback gives back, the last one first in turn."""
    by: str
    approved_by: str
    """Empty for a rollback, which one person may do alone."""
    reason: str
    evaluation_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""

    @classmethod
    def parse(cls, line: bytes) -> "Change":
        """Read a line, with or without its end.

        Raises:
            ValueError: it is none, or not written as `encoded` writes it.
        """
        try:
            change = TypeAdapter(cls).validate_json(line)
        except ValidationError as fault:
            raise ValueError("it is no change of the model in force") from fault
        if change.encoded() != line.removesuffix(b"\n") + b"\n":
            raise ValueError("it was changed by hand")
        return change

    def encoded(self) -> bytes:
        """The line with its end."""
        return (json.dumps(asdict(self), sort_keys=True, separators=(",", ":")) + "\n").encode()

    def sha256(self) -> str:
        """What the next line carries."""
        return hashlib.sha256(self.encoded()[:-1]).hexdigest()


def follows(change: Change, before: Sequence[Change]) -> bool:
    """Whether a change is the next one after all those before."""
    previous = before[-1].sha256() if before else START
    return (change.line, change.previous) == (len(before) + 1, previous)


def read_history(path: Path) -> tuple[Change, ...]:
    """All whole lines, once it is sure that they are one chain; none where there is no file.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line was altered, removed or inserted; the message says which.
    """
    changes: list[Change] = []
    for line in _whole_lines(path):
        try:
            change = Change.parse(line)
        except ValueError as fault:
            raise ValueError(f"line {len(changes) + 1} of {path.name} cannot be read: {fault}") from fault
        if not follows(change, changes):
            raise ValueError(f"line {len(changes) + 1} of {path.name} does not follow the one before")
        changes.append(change)
    return tuple(changes)


def append_change(path: Path, change: Change) -> None:
    """Add a line; on the disk afterwards. What a crash left of a line is cut off first.

    Raises:
        OSError: it could not be written.
    """
    whole_bytes = sum(map(len, _whole_lines(path)))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(whole_bytes)
        file.seek(whole_bytes)
        file.write(change.encoded())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def _whole_lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
