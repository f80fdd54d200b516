"""Where the durable engine keeps its rows: a file of SQLite on one machine, PostgreSQL for several.

The same application code works on both; only the URL differs. SQLite stands in WAL mode, which lets `perfnode jobs`
read while the node writes, and cannot be shared between machines.
"""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

_PATIENCE: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "3",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "6000",
}
"""How long we believe in a server that is silent, in s and ms; by default it is a quarter of an hour and more."""


@dataclass(frozen=True, slots=True)
class JobDatabase:
    """The database of the jobs of one node, or of all hosts of one node."""

    url: str = field(repr=False)  # it may hold a password
    """As SQLAlchemy reads it."""
    path: Path | None = None
    """The file of SQLite; None where the database is a server."""

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """The file in the data directory of a node that needs no server."""
        path = data_dir / "node.sqlite"
        return cls(f"sqlite:///{path}", path)

    @property
    def is_server(self) -> bool:
        """Whether several hosts may use it."""
        return self.path is None

    @property
    def exists(self) -> bool:
        """Whether a node has worked with it; a server is taken to be there."""
        return self.path is None or self.path.exists()

    def prepare(self) -> None:
        """Make the file in WAL mode, readable for nobody else; nothing for a server."""
        if self.path is None:
            return
        with sqlite3.connect(self.path) as connection:
            connection.execute("pragma journal_mode=wal")
        connection.close()
        self.path.chmod(0o600)


def server_database(url: str, password_file: Path | None) -> JobDatabase:
    """A PostgreSQL server that several hosts share.

    Args:
        url: `postgresql://user@host:port/database`, without a password.
        password_file: its first line is the password; None lets libpq find one (PGPASSFILE, certificates, peer).

    Raises:
        OSError: the password file cannot be read.
    """
    parts = urlsplit(url)
    if password_file is not None:
        password = quote(password_file.read_text(encoding="utf-8").partition("\n")[0].strip(), safe="")
        user, _, host = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user}:{password}@{host}")
    given = dict(parse_qsl(parts.query))
    return JobDatabase(urlunsplit(parts._replace(query=urlencode({**_PATIENCE, **given}))))
