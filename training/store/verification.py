"""Whether a store is as it was written: files by their hashes, links by what objects say, manifests by the audit."""

from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from training.errors import PairRefused, StoreUnusable
from training.insilico.files.whole_folder import WORKSHOP
from training.store.audit_lines import read_audit
from training.store.links import require_link
from training.store.stored_pair import MANIFEST, PairManifest, Role, file_sha256


def problems_of(pairs: Path, audit: Path, opted_out: frozenset[str]) -> tuple[str, ...]:
    """Look at everything.

    Args:
        pairs: folder of all pairs.
        audit: the audit trail.
        opted_out: patients who must not be there.

    Returns:
        What is wrong, one sentence each.
    """
    trail = read_audit(audit)
    manifests: dict[str, str] = {}
    taken: set[str] = set()
    for line in trail.lines:
        name = str(line.get("pair", ""))
        if line["event"] == "taking":
            manifests[name] = str(line["manifest"])
        elif line["event"] == "taken":
            taken.add(name)
        elif line["event"] == "removed":
            taken.discard(name)
            manifests.pop(name, None)
    folders = {path.name: path for path in sorted(pairs.glob("*")) if path.name != WORKSHOP}
    problems = [f"the audit trail was changed: {trail.fault}"] if trail.fault else []
    problems += [f"{name}: it is gone, and nobody removed it" for name in sorted(taken - folders.keys())]
    for name, folder in folders.items():
        if manifests.get(name) != _sha256_or_none(folder / MANIFEST):
            problems.append(f"{name}: its manifest is not the one that the audit trail tells of")
        problems += [f"{name}: {problem}" for problem in _of_pair(folder, opted_out)]
    return tuple(problems)


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
