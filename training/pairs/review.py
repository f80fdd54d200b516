"""A person's yes or no to each pair of a store; only pairs with a yes are trained on.

The verdict is a line of the store's audit trail: who, when, yes or no, and on what. So nobody can alter, forge or drop
one without breaking the chain, and the last line on a pair counts. The reason, which may name the patient, lies beside
the key (`training.store.notes`) and not in the store.

A verdict is on a pair as it was then, link included: the digest of the pair's manifest stands in it, and a pair that
came anew, or with another link, must be looked at anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from training.errors import ReviewRefused, StoreUnusable
from training.store.stored_pair import MANIFEST, StoredPair, file_sha256
from training.store.study_store import StudyStore

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person decided."""

    pair: str
    is_accepted: bool
    by: str
    at: str
    """ISO 8601 with zone."""
    manifest_sha256: str
    """Of the pair that was looked at."""


def decide(store: StudyStore, name: str, *, is_accepted: bool, by: str, reason: str) -> None:
    """Keep a verdict, in place of an earlier one.

    Args:
        store: holds the pair.
        name: of the pair.
        is_accepted: yes or no.
        by: who decided; a person's name.
        reason: why, in a sentence or some.

    Raises:
        ReviewRefused: nobody, or no reason, is named.
        WordsRefused: the name or the reason cannot be kept.
        StoreUnusable: there is no such pair.
        StoreBusy: another process writes into the store.
    """
    if not by.strip() or not reason.strip():
        raise ReviewRefused("a verdict needs the name of a person and a reason")
    words = {"manifest": _digest(store.pair(name)).upper()}
    store.record(ACCEPTED if is_accepted else REJECTED, name, by=by, words=words, note=reason)


def verdicts(store: StudyStore) -> Mapping[str, Verdict]:
    """The last verdict on each pair that has one, by name of the pair, whatever has become of the pair since.

    Raises:
        StoreUnusable: the audit trail was changed, so no verdict can be believed.
    """
    trail = store.audit()
    if trail.fault:
        raise StoreUnusable(str(store.folder), f"its audit trail was changed: {trail.fault}")
    found: dict[str, Verdict] = {}
    for line in trail.lines:
        name, event = str(line.get("pair", "")), line["event"]
        if event in (ACCEPTED, REJECTED):
            digest = str(line["manifest"]).lower()
            found[name] = Verdict(name, event == ACCEPTED, str(line["by"]), str(line["time"]), digest)
        elif event in ("taking", "removed"):
            found.pop(name, None)
    return found


def standing(pair: StoredPair, found: Mapping[str, Verdict]) -> Verdict | None:
    """The verdict on a pair as it is now; None if nobody has looked at it.

    Args:
        pair: of the store.
        found: all verdicts.
    """
    verdict = found.get(pair.name)
    return verdict if verdict is not None and verdict.manifest_sha256 == _digest(pair) else None


def verdict_on(store: StudyStore, pair: StoredPair) -> Verdict | None:
    """The same for one pair alone.

    Raises:
        StoreUnusable: the audit trail was changed.
    """
    return standing(pair, verdicts(store))


def accepted_pairs(store: StudyStore) -> tuple[StoredPair, ...]:
    """The pairs that may be trained on, by name.

    Raises:
        StoreUnusable: the audit trail was changed, or a pair is damaged.
    """
    found = verdicts(store)
    words = ((pair, standing(pair, found)) for pair in store.pairs())
    return tuple(pair for pair, verdict in words if verdict is not None and verdict.is_accepted)


def _digest(pair: StoredPair) -> str:
    return file_sha256(pair.folder / MANIFEST)
