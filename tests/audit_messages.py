"""Reads what stands in an audit file, and holds it against the schema of PS3.15 A.5.1."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lxml import etree

_SCHEMA = Path(__file__).parent / "dicom_node" / "audit" / "audit_message.rng"
_LINE = re.compile(
    rb"<(?P<priority>\d+)>1 (?P<time>[0-9T:.-]+Z) (?P<host>[\x21-\x7e]+) (?P<app>\S+) (?P<process>\d+) "
    rb'(?P<message_id>\S+) \[chain@32473 line="(?P<number>\d+)" previous="(?P<previous>[0-9a-f]{64})"\] '
    rb"\xef\xbb\xbf(?P<xml>.*)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One syslog message with its audit message."""

    priority: int
    message_id: str
    process: int
    xml: etree._Element

    @property
    def event(self) -> str:
        """Meaning of the event."""
        return str(self.xml.xpath("string(EventIdentification/EventID/@originalText)"))

    def value(self, path: str) -> str:
        """The first text or attribute at an XPath."""
        return str(self.xml.xpath(f"string({path})"))


@cache
def schema() -> etree.RelaxNG:
    """The schema of the standard."""
    return etree.RelaxNG(etree.parse(_SCHEMA))


def parse_line(line: bytes) -> Line:
    """A message, which must be valid."""
    match = _LINE.fullmatch(line)
    assert match is not None, line
    xml = etree.fromstring(match["xml"])
    schema().assertValid(xml)
    return Line(int(match["priority"]), match["message_id"].decode(), int(match["process"]), xml)


def read_lines(log_file: Path) -> list[Line]:
    """All messages of an audit file."""
    content = log_file.read_bytes()
    assert content.endswith(b"\n")
    return [parse_line(line) for line in content[:-1].split(b"\n")]
