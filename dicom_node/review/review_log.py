"""The record of a case that people write: decisions and ratings, one JSON object a line, appended and never changed.

    cases/<case id>/review.jsonl

A decision is written before it is carried out, and its answer after: a node that is killed in between leaves a
decision without an answer, and never an effect without a decision. A line is on the disk when the function that wrote
it returns. The file stays when the case is processed anew and leaves with it; who decided what then still stands in the
audit trail.
"""

import fcntl
import json
import os
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from dicom_node.durable_files import sync_directory
from dicom_node.jobs.cases import CaseFolder
from dicom_node.review.decision import Action, Deciding, Decision, Wish
from dicom_node.review.rating import Changes, Rating

_ASKED: Final = "decision"
_ANSWERED: Final = "answer"
_RATED: Final = "rating"


@dataclass(frozen=True, slots=True)
class ReviewLog:
    """The record of one case; several processes may write it at the same time."""

    path: Path

    @classmethod
    def of(cls, folder: CaseFolder) -> Self:
        """That of a case."""
        return cls(folder.path / "review.jsonl")

    def ask(self, deciding: Deciding, wish: Wish) -> Decision:
        """Write down what somebody wants, before it is carried out.

        Raises:
            OSError: it could not be written; nothing may be carried out.
        """
        decision = Decision(
            id=uuid.uuid4().hex[:12],
            at=_now(),
            by=deciding.by,
            role=deciding.role,
            reason=deciding.reason,
            action=wish.action,
            destination=wish.destination,
            details=dict(wish.details),
            objects={name: tuple(uids) for name, uids in wish.objects.items()},
        )
        fields = asdict(decision)
        self._append(_ASKED, {key: fields[key] for key in fields if key not in ("answer", "queued")})
        return decision

    def answer(self, decision: Decision, answer: str, queued: tuple[str, ...] = ()) -> Decision:
        """Write down what became of it."""
        self._append(_ANSWERED, {"id": decision.id, "answer": answer, "queued": queued})
        return replace(decision, answer=answer, queued=queued)

    def rate(self, deciding: Deciding, changes: Changes, minutes: float | None, result_id: str) -> Rating:
        """Write down what a planner says; the words are those of `deciding`.

        Raises:
            OSError: it could not be written.
        """
        words = deciding.reason
        who = {"by": deciding.by, "role": deciding.role}
        rating = Rating(
            id=uuid.uuid4().hex[:12],
            at=_now(),
            changes=changes,
            minutes=minutes,
            words=words,
            result_id=result_id,
            **who,
        )
        self._append(_RATED, asdict(rating))
        return rating

    def decisions(self) -> tuple[Decision, ...]:
        """Every decision, the oldest first."""
        found: dict[str, Decision] = {}
        for kind, fields in self._lines():
            if kind == _ASKED:
                objects = {name: tuple(uids) for name, uids in fields["objects"].items()}
                found[fields["id"]] = Decision(**{**fields, "action": Action(fields["action"]), "objects": objects})
            elif kind == _ANSWERED and fields["id"] in found:
                queued = tuple(fields["queued"])
                found[fields["id"]] = replace(found[fields["id"]], answer=fields["answer"], queued=queued)
        return tuple(found.values())

    def ratings(self) -> tuple[Rating, ...]:
        """Every rating, the oldest first."""
        found = [fields for kind, fields in self._lines() if kind == _RATED]
        return tuple(Rating(**{**fields, "changes": Changes(fields["changes"])}) for fields in found)

    def _lines(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and fields of every whole line; half a line, of a process that was killed, is passed over."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found = []
        for line in content.split(b"\n"):
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if isinstance(fields, dict):
                found.append((str(fields.pop("kind", "")), fields))
        return found

    def _append(self, kind: str, fields: dict[str, Any]) -> None:
        """Write a line durably. One that a power cut left half is closed first, so that it spoils no other."""
        line = (json.dumps({"kind": kind, **fields}, sort_keys=True) + "\n").encode()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            is_whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
            rest = memoryview(line if is_whole else b"\n" + line)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(self.path.parent)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
