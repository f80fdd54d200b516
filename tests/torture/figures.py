"""What a run has measured, with the limit of each figure and whether it was kept."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: str
    limit: str = ""
    kept: bool = True
    is_time: bool = False
    """Whether it depends on how fast the machine is and what else it does."""


@dataclass(slots=True)
class Figures:
    """All lines, and how many faults were injected by kind."""

    lines: list[Figure] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, name: str, value: float | str, limit: str = "", *, kept: bool = True, is_time: bool = False) -> None:
        """A figure."""
        text = value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else str(value)
        self.lines.append(Figure(name, text, limit, kept, is_time))

    def fault(self, kind: str, count: int = 1) -> None:
        """Count injected faults."""
        self.faults[kind] = self.faults.get(kind, 0) + count

    def violated(self, what: str) -> None:
        """Something happened that never may."""
        self.violations.append(what)

    @property
    def injected(self) -> int:
        """Faults of all kinds."""
        return sum(self.faults.values())

    def kept(self, *, times_too: bool = True) -> bool:
        """Whether every limit was kept and nothing was violated."""
        return not self.violations and all(line.kept for line in self.lines if times_too or not line.is_time)

    def table(self) -> str:
        """All of it for people."""
        rows = [(line.name, line.value, line.limit, "" if line.kept else "  <-- NOT KEPT") for line in self.lines]
        rows += [(f"faults: {kind}", str(count), "", "") for kind, count in sorted(self.faults.items())]
        rows += [("faults in total", str(self.injected), "", "")]
        counted = {what: self.violations.count(what) for what in self.violations}
        rows += [(f"VIOLATION: {what}", str(count), "0", "  <-- NOT KEPT") for what, count in counted.items()]
        width = max(len(row[0]) for row in rows)
        return "\n".join(f"{name:<{width}}  {value:>12}  {limit:<12}{mark}" for name, value, limit, mark in rows)
