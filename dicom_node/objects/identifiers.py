"""UIDs by role, derived from content: the same input gives the same UIDs.

A result that is computed again after a crash, or sent again after a lost answer, must not become a second, different
study in the archive. So no UID comes from a clock or a random number: each is a digest of what was received, which
software and models worked on it with which settings, and which role the UID plays. Change any of these and all UIDs
change, because then the objects differ too.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class ObjectKind(StrEnum):
    """The objects that a result is made of; each kind is a series of its own."""

    PARAMETRIC_MAP = "parametric-map"
    STRUCTURE_SET = "structure-set"


def uid_from(*parts: str) -> str:
    """A UID of at most 44 characters for these texts, in order.

    PS3.5 B.2: `2.25.` and a UUID as a decimal number. The UUID is version 8 (RFC 9562: content of our own making),
    cut from a SHA-256. Each part is preceded by its length, so that ("a", "bc") and ("ab", "c") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(f"{len(encoded)}:".encode() + encoded)
    uuid = bytearray(digest.digest()[:16])
    uuid[6] = (uuid[6] & 0x0F) | 0x80
    uuid[8] = (uuid[8] & 0x3F) | 0x80
    return f"2.25.{int.from_bytes(uuid, 'big')}"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Gives each role of one result its UID."""

    source_sha256: str
    """Digest of the received series: every instance with its pixels."""
    software_version: str
    model_digests: tuple[str, ...]
    """Weights' SHA-256 or, for engines without weights, name and version."""
    settings_sha256: str
    """Digest of the settings that shape the result (rules, names, options)."""

    def series_uid(self, kind: ObjectKind) -> str:
        """Series Instance UID of the series that holds objects of this kind."""
        return self._uid("series", kind, "")

    def instance_uid(self, kind: ObjectKind, index: int = 1) -> str:
        """SOP Instance UID of the object number `index` (from 1) of this kind."""
        return self._uid("instance", kind, str(index))

    def dimension_organization_uid(self, kind: ObjectKind) -> str:
        """Dimension Organization UID (0020,9164) of a multi-frame object."""
        return self._uid("dimension organization", kind, "")

    def _uid(self, role: str, kind: ObjectKind, index: str) -> str:
        basis = (self.source_sha256, self.software_version, *self.model_digests, self.settings_sha256)
        return uid_from("perfusion-node", str(len(basis)), *basis, role, kind.value, index)
