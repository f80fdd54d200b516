"""UIDs by role, derived from content: the same input gives the same UIDs.

A result that is computed again after a crash, or sent again after a lost answer, must not become a second, different
study in the archive. So no UID comes from a clock or a random number: each is a digest of what was received, which
software and models worked on it with which settings, what came of it voxel by voxel, and which role the UID plays.
Change any of these and all UIDs change, because then the objects differ too. The voxels are among them because other
hardware, another library or a network that ran short of memory gives other bits for the same input: the same UID never
stands for two contents.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Self

from dicom_node.objects.kinds import ObjectRole


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
    content_sha256: str = ""
    """Digest of the result itself."""
    predecessor: str = ""
    """Result id of the result that this one supersedes; empty for the first of its CT."""

    @property
    def result_id(self) -> str:
        """What tells this result from any other of the same CT, whatever it supersedes."""
        return uid_from("perfusion-node result", *self._basis())

    def including(self, digest: str) -> Self:
        """Identifiers of objects that depend on one more choice, given by its digest."""
        return replace(self, settings_sha256=uid_from(self.settings_sha256, digest))

    def series_uid(self, role: ObjectRole) -> str:
        """Series Instance UID of the series that holds this object; each role has a series of its own."""
        return self._uid("series", role, "")

    def instance_uid(self, role: ObjectRole, index: int = 1) -> str:
        """SOP Instance UID of the object number `index` (from 1) of this role."""
        return self._uid("instance", role, str(index))

    def dimension_organization_uid(self, role: ObjectRole) -> str:
        """Dimension Organization UID (0020,9164) of a multi-frame object."""
        return self._uid("dimension organization", role, "")

    def tracking_uid(self, role: ObjectRole, index: int) -> str:
        """Tracking UID (0062,0021) of a region, equal in every object that shows it."""
        return self._uid("tracking", role, str(index))

    def _basis(self) -> tuple[str, ...]:
        made_with = (self.source_sha256, self.software_version, *self.model_digests, self.settings_sha256)
        return (*made_with, self.content_sha256)

    def _uid(self, purpose: str, role: ObjectRole, index: str) -> str:
        basis = (*self._basis(), self.predecessor)
        return uid_from("perfusion-node", str(len(basis)), *basis, purpose, str(role), index)
