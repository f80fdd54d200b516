"""Patient IDs and Study UIDs as the audit trail writes them: by default as pseudonyms.

A pseudonym is a keyed hash (HMAC-SHA-256), always the same for the same identifier on the same node. Who has the key
can ask for the pseudonym of a patient and find every event about that patient; who has the trail alone cannot even test
a guess. The pseudonym of a Study Instance UID has the form of a UID (2.25 and 128 bits), so readers need no exception.
"""

import hmac
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import Final

from dicom_node.durable_files import sync_directory

_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Identifiers:
    """How identifiers are written."""

    key: bytes | None
    """`None`: as they are."""

    def patient(self, patient_id: str) -> str:
        """A Patient ID; an empty one stays empty, so that missing identity is seen."""
        if self.key is None or not patient_id:
            return patient_id
        return _digest(self.key, f"patient\0{patient_id}")[:32]

    def study(self, study_instance_uid: str) -> str:
        """A Study Instance UID."""
        if self.key is None or not study_instance_uid:
            return study_instance_uid
        return f"2.25.{int(_digest(self.key, f'study{chr(0)}{study_instance_uid}')[:32], 16)}"


def read_key(path: Path) -> bytes:
    """The key of this node, made at the first call; several processes may call at once.

    Raises:
        OSError: it can neither be read nor made.
    """
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.{token_bytes(4).hex()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, token_bytes(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            path.hardlink_to(part)  # fails where another process was faster, whose key is then the one
        except FileExistsError:
            pass
        finally:
            part.unlink()
        sync_directory(path.parent)
    return path.read_bytes()


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), sha256).hexdigest()
