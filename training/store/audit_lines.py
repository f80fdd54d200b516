"""`audit.jsonl` of a store: what came, what went and who did it; each line holds the SHA-256 of the line before.

Whoever alters, removes or inserts a line breaks the chain from there on. The end of the file is not protected by the
file itself: keep a copy of the last hash elsewhere. Lines name pseudonyms, codes and the member of staff who gave the
command; never a path, since hospitals name folders after patients.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from training.insilico.files.whole_folder import bring_to_disk

START: Final = "0" * 64
"""What the first line holds."""
PAIR_EVENTS: Final = ("taking", "taken", "removed")
"""Events that say whether a pair is there: `taking` before its folder has its name, `taken` after."""


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """What a file of lines says."""

    lines: tuple[Mapping[str, Any], ...]
    last_hash: str
    fault: str = ""
    """The first fault, a sentence; lines behind it are not read."""
    sound_bytes: int = 0
    """Length of what is whole; a crash may have left a part of a line behind it."""

    @property
    def last_of_pairs(self) -> Mapping[str, Mapping[str, Any]]:
        """By name of the pair, the last line that says whether it is there."""
        return {str(line["pair"]): line for line in self.lines if line["event"] in PAIR_EVENTS}


def read_audit(path: Path) -> AuditTrail:
    """Follow the chain from the first line. A last line without its end is what a crash left, and is no fault.

    Raises:
        OSError: the file cannot be read.
    """
    lines: list[Mapping[str, Any]] = []
    previous, sound = START, 0
    for raw in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if not raw.endswith(b"\n"):
            break
        try:
            line = json.loads(raw)
            fits = line["line"] == len(lines) + 1 and line["previous"] == previous
            fits = fits and all(isinstance(line[word], str) for word in ("time", "event", "by"))
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            return AuditTrail(tuple(lines), previous, f"line {len(lines) + 1} does not follow the one before", sound)
        lines.append(line)
        previous, sound = sha256(raw).hexdigest(), sound + len(raw)
    return AuditTrail(tuple(lines), previous, sound_bytes=sound)


def append_audit(path: Path, event: str, time: datetime, by: str, words: Mapping[str, str | int]) -> None:
    """Add a line; on the disk afterwards. The caller holds the lock of the store.

    Args:
        path: the file.
        event: what happened, one word.
        time: now.
        by: who gave the command.
        words: what more there is to say, in pseudonyms and codes.

    Raises:
        ValueError: the chain is broken, and nothing may be added behind the break.
        OSError: it could not be written.
    """
    trail = read_audit(path)
    if trail.fault:
        raise ValueError(trail.fault)
    line = {
        "line": len(trail.lines) + 1,
        "previous": trail.last_hash,
        "time": time.isoformat(timespec="seconds"),
        "event": event,
        "by": by,
        **words,
    }
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(trail.sound_bytes)  # without the part of a line that a crash left
        file.seek(trail.sound_bytes)
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        bring_to_disk(path.parent)
