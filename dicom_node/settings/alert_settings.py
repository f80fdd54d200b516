"""Whom the node tells of what: the tables `[[alerts]]`, and the addresses in their files."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_SCHEMES = ("http", "https", "smtp", "smtps")


class AlertEvent(StrEnum):
    """What somebody may want to know at once."""

    FAILED = "failed"
    """A case failed, or was set aside after it had crashed too often; a person must decide."""
    HELD = "held"
    """A series or a case waits for a person."""
    LATE = "late"
    """A job waits longer than the limit, or nothing was received for so many working hours."""
    NODE = "node"
    """The node itself: disk, database, receiver, a takeover, a self-test, the end by its watchdog."""
    TEST = "test"
    """Asked for by `perfnode alerts test`; every alert gets it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One recipient."""

    name: str
    url_file: Path
    """Its first line is the address; a file of its own, because addresses hold passwords."""
    events: tuple[AlertEvent, ...]
    trusted: Path | None = None
    """Certificates of the authorities for TLS; None: the public ones."""

    def wants(self, event: AlertEvent) -> bool:
        """Whether it is told of this event."""
        return event is AlertEvent.TEST or event in self.events

    def address(self) -> "WebAddress | MailAddress":
        """Where to tell; read anew each time, so that it can be changed while the node runs.

        Raises:
            OSError: the file cannot be read.
            ValueError: its first line is no address; the message does not quote it.
        """
        text = self.url_file.read_text(encoding="utf-8").partition("\n")[0].strip()
        url = urlsplit(text)
        if url.scheme not in _SCHEMES or not url.hostname:
            raise ValueError(f"the first line is no address; it begins with {', '.join(f'{s}://' for s in _SCHEMES)}")
        return WebAddress(text) if url.scheme in ("http", "https") else _mail_address(url)


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A web hook: gets a POST of JSON."""

    url: str


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail server, who writes, and to whom."""

    host: str
    port: int
    tls: str
    """`implicit` (smtps), `starttls`, or `none`."""
    user: str
    password: str
    sender: str
    recipients: tuple[str, ...]


def _mail_address(url: SplitResult) -> MailAddress:
    words = parse_qs(url.query)
    recipients = tuple(word for text in words.get("to", []) for word in text.split(",") if word)
    senders = words.get("from", [])
    if not recipients or len(senders) != 1:
        raise ValueError("a mail address needs ?from=…&to=…, for instance smtps://user:word@mail:465/?from=a@b&to=c@d")
    plain = words.get("tls", ["yes"])[-1] == "no"
    tls = "implicit" if url.scheme == "smtps" else "none" if plain else "starttls"
    return MailAddress(
        host=str(url.hostname),
        port=url.port or {"implicit": 465, "starttls": 587, "none": 25}[tls],
        tls=tls,
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        sender=senders[0],
        recipients=recipients,
    )
