"""A person's yes or no to each pair of a store; only pairs with a yes are trained on.

    STORE/reviews/NAME.json     the last word on a pair: who, when, yes or no, why

A verdict is on a pair as it was then, link included: the digest of the pair's manifest stands in it, and a pair that
came anew with another link must be looked at anew. Store and audit hold who decided; the reason is for people and must
not name the patient.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from training.errors import ReviewRefused
from training.insilico.files.whole_folder import write_whole
from training.store import StoredPair, StudyStore
from training.store.stored_pair import MANIFEST, file_sha256

REVIEWS = "reviews"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person decided."""

    pair: str
    is_accepted: bool
    by: str
    reason: str
    at: str
    """ISO 8601 with zone."""
    manifest_sha256: str
    """Of the pair that was looked at."""


def decide(store: StudyStore, name: str, *, is_accepted: bool, by: str, reason: str, now: datetime) -> Verdict:
    """Keep a verdict, in place of an earlier one, and tell the store's audit.

    Args:
        store: holds the pair.
        name: of the pair.
        is_accepted: yes or no.
        by: who decided; a person's name.
        reason: why, one sentence without the patient's name.
        now: with zone.

    Raises:
        ReviewRefused: nobody, or no reason, is named.
        StoreUnusable: there is no such pair.
    """
    if not by.strip() or not reason.strip():
        raise ReviewRefused("a verdict needs the name of a person and a reason")
    pair = store.pair(name)
    verdict = Verdict(name, is_accepted, by.strip(), reason.strip(), now.isoformat(), _digest(pair))
    store.record("accepted" if is_accepted else "rejected", name, by=verdict.by, words={})
    folder = store.folder / REVIEWS
    folder.mkdir(mode=0o700, exist_ok=True)
    clear_orphans(store)
    write_whole(folder / f"{name}.json", (json.dumps(asdict(verdict), indent=1) + "\n").encode())
    return verdict


def verdict_on(store: StudyStore, pair: StoredPair) -> Verdict | None:
    """The verdict on a pair as it is now; None if nobody has looked at it.

    Raises:
        ReviewRefused: the file of the verdict is damaged.
    """
    path = store.folder / REVIEWS / f"{pair.name}.json"
    if not path.exists():
        return None
    try:
        verdict = TypeAdapter(Verdict).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValidationError) as fault:
        raise ReviewRefused(f"{path.name} is damaged: decide on the pair again") from fault
    return verdict if verdict.pair == pair.name and verdict.manifest_sha256 == _digest(pair) else None


def accepted_pairs(store: StudyStore) -> tuple[StoredPair, ...]:
    """The pairs that may be trained on, by name.

    Raises:
        ReviewRefused: a verdict is damaged.
        StoreUnusable: so is a pair.
    """
    words = ((pair, verdict_on(store, pair)) for pair in store.pairs())
    return tuple(pair for pair, verdict in words if verdict is not None and verdict.is_accepted)


def clear_orphans(store: StudyStore) -> None:
    """Remove verdicts on pairs that are gone, as when a patient opted out."""
    names = {pair.name for pair in store.pairs()}
    for path in (store.folder / REVIEWS).glob("*.json"):
        if path.stem not in names:
            path.unlink(missing_ok=True)


def _digest(pair: StoredPair) -> str:
    return file_sha256(Path(pair.folder) / MANIFEST)
