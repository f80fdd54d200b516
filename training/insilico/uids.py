"""Identifiers of in-silico objects: they follow from content, so equal patients have equal UIDs on every machine."""

import hashlib


def derived_uid(*content: str) -> str:
    """A UID under 2.25 (PS3.5 B.2) that stands for all parts of the content in their order."""
    digest = hashlib.sha256("\n".join(content).encode()).hexdigest()
    return f"2.25.{int(digest[:32], 16)}"
