"""Proof of what was removed and of why it could be: one line of JSON per case, kept for good.

    <shared directory>/removals/2026-11.jsonl

A line says when and why a case went and, destination by destination, which objects had been stored and confirmed by
which service when. It names no patient: instead of a UID it holds the SHA-256 of the UID, so a site that knows the UID
of an object finds its line (`printf %s UID | sha256sum`), and the file tells a stranger nothing.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from dicom_node.durable_files import make_directory, sync_directory
from dicom_node.jobs.attempts import Attempt, Case, standing_attempts
from dicom_node.jobs.cases import CaseRecord
from dicom_node.keeping.removable import Because, way_of

_TAIL_BYTES: Final = 1 << 20
"""Where a line is looked for that a killed node may have written already: far more than one look writes."""


def proof_of(case: Case, record: CaseRecord | None, because: Because, now_s: float) -> dict[str, Any]:
    """What the line says.

    Args:
        case: as it stands.
        record: what it was made of; `None` if its folder is gone already.
        because: why it goes.
        now_s: Unix time.
    """
    return {
        "case": case.case_id,
        "removed_at": _iso(now_s),
        "because": because.value,
        "state": case.state.value,
        "code": case.code,
        "first_seen": _iso(case.created_at_s),
        "last_attempt": _iso(case.updated_at_s),
        "series_sha256": hashed(record.series_instance_uid) if record else "",
        "content_digest": record.content_digest if record else "",
        "instances_received": record.instances if record else 0,
        "destinations": {
            attempt.id.destination: _at_destination(way_of(attempt, case))
            for attempt in standing_attempts(case.attempts)
            if attempt.id.destination
        },
    }


def hashed(uid: str) -> str:
    """How a UID stands in a proof."""
    return hashlib.sha256(uid.encode()).hexdigest()


def _at_destination(attempts: Iterable[Attempt]) -> dict[str, Any]:
    objects: dict[str, dict[str, Any]] = {}
    for attempt in attempts:
        at = _iso(attempt.updated_at_s)
        for i in attempt.output.get("instances", ()):
            stored = bool(i.get("stored", True))
            objects[i["sop_instance_uid"]] = {
                "object": i.get("object", ""),
                "status": f"0x{i['status']:04X}",
                "stored_at": at if stored else None,
                "confirmed_by": None,
                "confirmed_at": None,
            }
        for uid, service in attempt.output.get("confirmed", {}).items():
            if uid in objects:
                objects[uid] |= {"confirmed_by": service, "confirmed_at": at}
        for uid in attempt.output.get("missing", ()):
            if uid in objects:
                objects[uid]["stored_at"] = None
    return {
        "stored": sum(facts["stored_at"] is not None for facts in objects.values()),
        "confirmed": sum(facts["confirmed_at"] is not None for facts in objects.values()),
        "objects": [{"uid_sha256": hashed(uid), **facts} for uid, facts in objects.items()],
    }


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class RemovalLog:
    """The proofs of one node, a file a month."""

    folder: Path

    @classmethod
    def under(cls, shared_dir: Path) -> Self:
        """The log of the node with that shared directory."""
        return cls(shared_dir / "removals")

    def append(self, proof: dict[str, Any]) -> None:
        """Write a line durably; one that is there already is not written again.

        A line that a power cut left half is closed first, so that it spoils no other.
        """
        make_directory(self.folder)
        line = (json.dumps(proof, sort_keys=True) + "\n").encode()
        path = self.folder / f"{proof['removed_at'][:7]}.jsonl"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
            if line in tail.splitlines(keepends=True):
                return
            os.write(descriptor, line if not tail or tail.endswith(b"\n") else b"\n" + line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(self.folder)

    def lines(self) -> list[dict[str, Any]]:
        """Every proof, the oldest first; half a line is left out."""
        found = []
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("{") and line.endswith("}"):
                    found.append(json.loads(line))
        return found
