"""What stands for a patient, a UID and a day in the store: keyed hashes, the same each time, with a key kept apart.

A hash without a key is no protection: there are few enough Patient IDs and birth dates to try them all. With HMAC
(RFC 2104) whoever has the store but not the key can neither go back nor test a guess. Whoever has both can test one, so
the key stays with the hospital and is never copied with the store. Without the key, pairs that come later get no link
to those that are there; what is stored can still be trained on.
"""

import hashlib
import hmac
import os
import secrets
import stat
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from pydicom._uid_dict import UID_dictionary

from training.errors import StoreUnusable
from training.insilico.files.whole_folder import bring_to_disk

KEY_BYTES: Final = 32
MOST_DAYS: Final = 3650
"""Dates of a patient are moved back by one to so many days: ours; ten years, so that a season cannot be told either."""
MOST_DIGITS: Final = 16
"""Longest Patient ID of digits alone whose leading zeros are tried (ours)."""


class Pseudonyms:
    """Makes them from one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_file(cls, path: Path, *, store: Path) -> "Pseudonyms":
        """Read the key of a store.

        Raises:
            StoreUnusable: there is none, it lies inside the store, it is damaged, or others may read it.
        """
        if path.resolve().is_relative_to(store.resolve()):
            raise StoreUnusable(str(store), "its key lies inside of it, and would be copied with it")
        try:
            mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
            key = bytes.fromhex(text)
        except OSError as fault:
            raise StoreUnusable(str(store), f"its key {path} cannot be read: {fault.strerror}") from fault
        except ValueError as fault:
            raise StoreUnusable(str(store), f"{path} is no key") from fault
        if len(key) != KEY_BYTES:
            raise StoreUnusable(str(store), f"{path} is no key")
        if stat.S_IMODE(mode) & 0o077:
            raise StoreUnusable(str(store), f"others may read its key: chmod 600 {path}")
        return cls(key)

    @staticmethod
    def make_key(path: Path) -> None:
        """Draw a key and write it, for its owner only.

        Raises:
            FileExistsError: there is one; it is never replaced, since all links would be lost.
        """
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(part, path)  # whole under its name, and never in place of another one, as a rename would be
        finally:
            part.unlink()
        bring_to_disk(path.parent)

    @property
    def key_id(self) -> str:
        """Says which key a store was made with, and nothing of the key."""
        return self._hash("key").hex()[:16]

    def patient(self, patient_id: str) -> str:
        """Name of a patient in the store; blanks round a Patient ID and the case of letters do not count."""
        return "P" + self._hash("patient", patient_id.strip().casefold()).hex()[:12]

    def spellings(self, patient_id: str) -> frozenset[str]:
        """Names of a patient whose ID lost or gained leading zeros, as spreadsheets drop them; of the ID itself too."""
        digits = patient_id.strip()
        if not (digits.isascii() and digits.isdecimal()):
            return frozenset({self.patient(patient_id)})
        bare = digits.lstrip("0") or "0"
        padded = {bare.zfill(length) for length in range(len(bare), MOST_DIGITS + 1)}
        return frozenset(self.patient(one) for one in {digits, *padded})

    def birth(self, birth_date: str, patient: str) -> str:
        """Says whether two birth dates of one patient are one; nothing of two patients. Empty for no date."""
        return self._hash("birth", birth_date, patient).hex()[:16] if birth_date else ""

    def person(self, name: str, birth_date: str) -> str:
        """What is the same for one person under two Patient IDs; empty if name or birth date is."""
        letters = "".join(character for character in name.partition("=")[0].casefold() if character.isalnum())
        return self._hash("person", letters, birth_date).hex()[:32] if letters and birth_date else ""

    def uid(self, uid: str) -> str:
        """A UID under 2.25 (PS3.5 B.2); UIDs of the standard itself stay, since they say what a thing is."""
        if uid in UID_dictionary:
            return uid
        number = int.from_bytes(self._hash("uid", uid)[:16])
        number = number & ~(0xF << 76) | 8 << 76  # RFC 9562: version 8 …
        number = number & ~(0b11 << 62) | 0b10 << 62  # … and its variant
        return f"2.25.{number}"

    def moved(self, day: date, patient: str) -> date:
        """A date of a patient, moved back by that patient's number of days; intervals stay."""
        days = 1 + int.from_bytes(self._hash("days", patient)[:8]) % MOST_DAYS
        return day - timedelta(days=days)

    def _hash(self, purpose: str, *parts: str) -> bytes:
        return hmac.digest(self._key, "\0".join((purpose, *parts)).encode(), hashlib.sha256)
