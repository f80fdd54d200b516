"""Pairs of a store without files, for what only deals them."""

from pathlib import Path

from training.store.stored_pair import PairManifest, StoredLink, StoredPair

IDENTITY = (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)


def pair(patient: str, number: int = 1) -> StoredPair:
    name = f"{patient}-{number:08x}"
    link = StoredLink("frame-of-reference", IDENTITY)
    manifest = PairManifest(name=name, patient=patient, person="", birth="", link=link, warnings=(), files=())
    return StoredPair(Path("/nowhere") / name, manifest)
