"""Accounts of the page on this node: one small file in the data folder, written by `perfnode web account`.

The page looks for a newer file at every request, so that a removed account, another role or another password end the
sessions of before. Names are kept as they were given and compared without regard to case.
"""

import fcntl
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from dicom_node.durable_files import make_directory, write_json
from dicom_node.errors import AccountRefused, UnknownAccount
from dicom_node.web.access.passwords import hash_of
from dicom_node.web.access.rights import PageRole

_NAME: Final = re.compile(r"[\w][\w.@ -]{0,62}[\w.]|[\w]")


@dataclass(frozen=True, slots=True)
class Account:
    """One person who may sign in."""

    name: str
    role: PageRole
    password_hash: str
    created: str
    """Day, as ISO 8601."""

    @property
    def mark(self) -> str:
        """Changes with whatever ends the sessions of the account."""
        return sha256(f"{self.name}\0{self.role}\0{self.password_hash}".encode()).hexdigest()


class Accounts:
    """The accounts of one node; safe to use from several threads and processes.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int, int], dict[str, Account]] | None = None

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """Those of the node with this data folder."""
        return cls(data_dir / "web" / "accounts.json")

    def all(self) -> list[Account]:
        """Every account, by name."""
        return sorted(self._accounts().values(), key=lambda account: account.name.casefold())

    def get(self, name: str) -> Account | None:
        """The account of that name."""
        return self._accounts().get(name.casefold())

    def add(self, name: str, role: PageRole, password: str, day: str) -> Account:
        """Make an account.

        Args:
            name: letters, digits, `.`, `-`, `_`, `@` and spaces; it stands in records of decisions.
            role: of the person.
            password: of the person.
            day: today, as ISO 8601.

        Raises:
            AccountRefused: the name is no name, or somebody has it; the password is too short.
        """
        if not _NAME.fullmatch(name):
            raise AccountRefused("a name has 1 to 64 letters, digits, '.', '-', '_', '@' and spaces between them")
        account = Account(name, role, hash_of(password), day)
        with self._changed() as accounts:
            if name.casefold() in accounts:
                raise AccountRefused(f"there is an account {accounts[name.casefold()].name} already")
            accounts[name.casefold()] = account
        return account

    def set_role(self, name: str, role: PageRole) -> None:
        """Give an account another role; its sessions end.

        Raises:
            UnknownAccount: there is none of that name.
        """
        with self._changed() as accounts:
            accounts[name.casefold()] = replace(_known(accounts, name), role=role)

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password; its sessions end.

        Raises:
            UnknownAccount: there is none of that name.
            AccountRefused: the password is too short.
        """
        hashed = hash_of(password)
        with self._changed() as accounts:
            accounts[name.casefold()] = replace(_known(accounts, name), password_hash=hashed)

    def remove(self, name: str) -> None:
        """Remove an account; its sessions end.

        Raises:
            UnknownAccount: there is none of that name.
        """
        with self._changed() as accounts:
            del accounts[_known(accounts, name).name.casefold()]

    def _accounts(self) -> Mapping[str, Account]:
        """As the file has them; read anew only when it has changed."""
        with self._lock:
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self._read = None
                return {}
            version = status.st_ino, status.st_mtime_ns, status.st_size
            if self._read is None or self._read[0] != version:
                self._read = version, self._from_file()
            return self._read[1]

    def _from_file(self) -> dict[str, Account]:
        rows = json.loads(self._path.read_text(encoding="utf-8"))
        found = (Account(**{**row, "role": PageRole(row["role"])}) for row in rows)
        return {account.name.casefold(): account for account in found}

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Account]]:
        """What is changed in here is written at the end, unless something is raised; one process at a time."""
        make_directory(self._path.parent)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            accounts = self._from_file() if self._path.exists() else {}
            yield accounts
            write_json(self._path, [asdict(account) for account in accounts.values()])


def _known(accounts: Mapping[str, Account], name: str) -> Account:
    account = accounts.get(name.casefold())
    if account is None:
        raise UnknownAccount(name)
    return account
