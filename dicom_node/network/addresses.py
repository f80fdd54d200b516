"""`AeAddress`: where a DICOM program listens, written `AET@host:port` wherever a person reads or types it."""

import re
from dataclasses import dataclass
from typing import Self

_AE_TITLE = re.compile(r"[\x21-\x5B\x5D-\x7E](?:[\x20-\x5B\x5D-\x7E]{0,14}[\x21-\x5B\x5D-\x7E])?")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_ADDRESS = re.compile(r"(?P<ae_title>[^@]+)@(?P<host>\[[^]]*\]|[^:@]+):(?P<port>[0-9]{1,5})")


def check_ae_title(ae_title: str) -> str:
    r"""Return `ae_title` if it is an AE title.

    At most 16 characters of the default repertoire without backslash and control characters, and not only spaces
    (PS3.5 section 6.2, VR AE). Spaces at the ends carry no meaning there, so they are refused here.

    Raises:
        ValueError: It is not.
    """
    if not _AE_TITLE.fullmatch(ae_title):
        raise ValueError(
            f"{ae_title!r} is not an AE title: 1 to 16 printable ASCII characters, no backslash, no space at the ends"
        )
    return ae_title


@dataclass(frozen=True, slots=True)
class AeAddress:
    """An application entity and where it listens.

    Raises:
        ValueError: AE title, host or port is not one.
    """

    ae_title: str
    """Called AE title, at most 16 characters."""
    host: str
    """Host name or IPv4 address, or an IPv6 address in square brackets."""
    port: int
    """TCP port, 1 to 65535."""

    def __post_init__(self) -> None:
        check_ae_title(self.ae_title)
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"{self.host!r} is not a host name or address")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not between 1 and 65535")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `AET@host:port`.

        Raises:
            ValueError: The text is not of that form.
        """
        match = _ADDRESS.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not of the form AET@host:port, for example PACS@10.0.0.5:104")
        return cls(match["ae_title"], match["host"], int(match["port"]))

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host (without the brackets of an IPv6 address) and port, as sockets want them."""
        return self.host.strip("[]"), self.port

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"
