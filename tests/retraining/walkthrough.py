"""A page of documentation as a program: its commands, what it says they print, and its files.

A fenced block ```console holds commands, each after `$ `, and below each what it prints; ```console status=1 where
the last one ends with that status. `...` in a line, or as a line, stands for whatever is printed there. Names that
differ in every installation (of pairs, patients, cases, digests and keys) are learned when first seen: a later command
of the page that uses such a name is given the real one, and a later output must show the real one. Numbers with
decimals, sizes and times are the reader's own; whole numbers must be as the page says. Any other fenced
block with a second word, as ```toml site.toml, is the file of that name.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_NAME = r"P[0-9a-f]{12}-[0-9a-f]{8}|P[0-9a-f]{12}|\b[0-9a-f]{8,64}\b"
"""Pair, patient, digest, key, case."""
_TIME = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?(?:\+\d\d:\d\d|Z)?"
_MEASURED = r"\d+:\d\d:\d\d|[-+]?\d+(?:\.\d+)?(?: ?(?:s|min|h|MB|GB)\b)|[-+]?\d+\.\d+(?:e-?\d+)?"
_PARTS = re.compile(rf"(?P<name>{_NAME})|(?P<time>{_TIME})|(?P<measured>{_MEASURED})|(?P<any>\.\.\.)|(?P<space>\s+)")
_ANY = {
    "time": _TIME,
    "measured": r"(?:\d+:\d\d:\d\d|[-+]?\d+(?:\.\d+)?(?:e-?\d+)?(?: ?(?:s|min|h|MB|GB)\b)?)",
    "any": ".*",
    "space": r"\s+",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page."""

    line: int
    command: str
    shown: tuple[str, ...]
    """What the page says it prints."""
    status: int


@dataclass(frozen=True, slots=True)
class Page:
    """What a page tells its reader to do."""

    steps: tuple[Step, ...]
    files: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Find the fenced blocks of a page."""
        steps, files = [], {}
        block: list[tuple[int, str]] | None = None
        words: list[str] = []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.startswith("```"):
                if block is not None:
                    block.append((number, line))
                continue
            if block is None:
                block, words = [], line[3:].split()
                continue
            if words[:1] == ["console"]:
                status = int(words[1].removeprefix("status=")) if len(words) > 1 else 0
                steps += _steps(block, status)
            elif len(words) > 1:
                files[words[1]] = "".join(f"{text}\n" for _, text in block)
            block = None
        assert block is None, f"{path}: the last block has no end"
        return cls(tuple(steps), files)


def _steps(block: list[tuple[int, str]], status: int) -> list[Step]:
    """Commands of one block; one that ends with a backslash goes on in the next line."""
    assert block
    assert block[0][1].startswith("$ "), f"line {block[0][0]}: no command"
    steps: list[tuple[int, str, list[str]]] = []
    for number, line in block:
        if line.startswith("$ "):
            steps.append((number, line[2:], []))
        elif not steps[-1][2] and steps[-1][1].endswith("\\"):
            steps[-1] = (steps[-1][0], f"{steps[-1][1][:-1].rstrip()} {line.strip()}", [])
        elif line.strip():
            steps[-1][2].append(line.strip())
    last = len(steps) - 1
    return [Step(n, text, tuple(shown), status if k == last else 0) for k, (n, text, shown) in enumerate(steps)]


@dataclass(slots=True)
class Walk:
    """Somebody who goes through a page, in one folder, with what he learned on the way."""

    folder: Path
    environment: Mapping[str, str]
    names: dict[str, str] = field(default_factory=dict)
    """By the name that stands in the page."""

    def command(self, step: Step) -> str:
        """The command with real names in place of those of the page.

        A name that was cut short on the page, as people type them, is the start of the one that was learned.
        """

        def real(match: "re.Match[str]") -> str:
            shown = match.group()
            longer = [name for name in self.names if name.startswith(shown)]
            assert longer, f"line {step.line}: {shown} was never printed"
            return self.names[longer[0]][: len(shown)]

        return re.sub(_NAME, real, step.command)

    def run(self, step: Step) -> "subprocess.CompletedProcess[str]":
        """Run a command and compare what it prints with the page."""
        done = subprocess.run(
            ["bash", "-c", self.command(step)],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        told = f"line {step.line}: {step.command}\n{done.stdout}{done.stderr}"
        assert done.returncode == step.status, f"status {done.returncode}, {step.status} on the page\n{told}"
        missing = self.missing(step, done.stdout if done.returncode < 2 else done.stdout + done.stderr)
        assert missing is None, f"not printed, or not in this place: {missing}\n{told}"
        return done

    def missing(self, step: Step, printed: str) -> str | None:
        """The first line of the page that was not printed in its turn; None if all is as the page says.

        Without a line `...` between them, lines of the page follow one another.
        """
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        place, gap = 0, False
        for shown in step.shown:
            if shown == "...":
                gap = True
                continue
            while place < len(lines) and not self._matches(shown, lines[place]):
                if not gap:
                    return shown
                place += 1
            if place == len(lines):
                return shown
            place, gap = place + 1, False
        return None if gap or place == len(lines) or not step.shown else f"(the end, before {lines[place]!r})"

    def _matches(self, shown: str, printed: str) -> bool:
        pattern, names, end = "", [], 0
        for match in _PARTS.finditer(shown):
            kind = match.lastgroup or ""
            pattern += re.escape(shown[end : match.start()])
            if kind == "name":
                known = self.names.get(match.group())
                pattern += f"({re.escape(known) if known else _NAME})"
                names.append(match.group())
            else:
                pattern += _ANY[kind]
            end = match.end()
        found = re.fullmatch(pattern + re.escape(shown[end:]), printed)
        if found is None:
            return False
        learned = dict(zip(names, found.groups(), strict=True))
        if [learned[name] for name in names] != list(found.groups()):
            return False  # one name of the page for two
        self.names |= learned
        return True
