"""Whether a store is as it was written: files by their hashes, links by what objects say, manifests by the audit.

Also whether anything lies in it that is none of its own, and whether others may read it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset

from training.errors import PairRefused, StoreUnusable
from training.insilico.files.whole_folder import WORKSHOP
from training.store.audit_lines import AuditTrail
from training.store.header import HEADER
from training.store.links import require_link
from training.store.store_lock import LOCK
from training.store.stored_pair import MANIFEST, PairManifest, Role, file_sha256

_KNOWN: Final = (HEADER, LOCK, "audit.jsonl", "opted-out.json", "pairs")
"""All that a store has; a table of names that somebody laid beside the pairs would be shared with them."""


def problems_of(folder: Path, trail: AuditTrail, opted_out: frozenset[str]) -> tuple[str, ...]:
    """Look at everything.

    Args:
        folder: the store.
        trail: its audit.
        opted_out: patients who must not be there.

    Returns:
        What is wrong, one sentence each.
    """
    pairs = folder / "pairs"
    told = {name: line for name, line in trail.last_of_pairs.items() if line["event"] != "removed"}
    folders = {path.name: path for path in sorted(pairs.glob("*")) if path.name != WORKSHOP}
    problems = [f"the audit trail was changed: {trail.fault}"] if trail.fault else []
    taken = {name for name, line in told.items() if line["event"] == "taken"}
    problems += [f"{name}: it is gone, and nobody removed it" for name in sorted(taken - folders.keys())]
    for name, each in folders.items():
        if told.get(name, {}).get("manifest") != _sha256_or_none(each / MANIFEST):
            problems.append(f"{name}: its manifest is not the one that the audit trail tells of")
        problems += [f"{name}: {problem}" for problem in _of_pair(each, opted_out)]
    return (*problems, *_of_access(folder))


def _of_access(folder: Path) -> Iterator[str]:
    """Who may read the store, and what lies in it that it does not know."""
    for path in sorted(folder.glob("*")):
        if path.name not in _KNOWN:
            yield f"{path.name} is no part of a store: take it out"
    open_to_others = [path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077]
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    yield from (f"{path.relative_to(folder)} is a link" for path in links)
    if others := [path for path in open_to_others if path not in links]:
        yield f"others may read {len(others)} files or folders: chmod -R go= {folder}"


def _of_pair(folder: Path, opted_out: frozenset[str]) -> Iterator[str]:
    try:
        manifest = PairManifest.read(folder)
    except StoreUnusable as fault:
        yield fault.reason
        return
    if manifest.patient in opted_out:
        yield "its patient opted out"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    named = {file.path: file for file in manifest.files}
    yield from (f"{path} is not in its manifest" for path in sorted(there - named.keys()))
    yield from (f"{path} is gone" for path in sorted(named.keys() - there))
    changed = [path for path in sorted(there & named.keys()) if file_sha256(folder / path) != named[path].sha256]
    yield from (f"{path} was changed" for path in changed)
    if there == named.keys() and not changed:
        yield from _of_links(folder, manifest)


def _of_links(folder: Path, manifest: PairManifest) -> Iterator[str]:
    """Only of files that are as they were written, so nothing can go wrong in reading them."""

    def headers(role: Role) -> list[Dataset]:
        return [dcmread(folder / file.path, stop_before_pixels=True) for file in manifest.of(role)]

    try:
        registration = next(iter(headers("registration")), None)
        require_link(manifest.link.kind, headers("ct"), headers("nuclear"), registration)
    except PairRefused as fault:
        yield fault.reason


def _sha256_or_none(path: Path) -> str | None:
    return file_sha256(path) if path.exists() else None
