"""How long a stage may take, how much memory it may hold, and how often it is tried."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageLimits:
    """Limits of the stages that run in processes of their own."""

    timeout_s: float = 1800.0
    """Wall-clock limit of one attempt."""
    timeouts_s: Mapping[str, float] = field(default_factory=dict)
    """Limits of single stages, instead of `timeout_s`."""
    memory_mb: int = 16384
    """Memory that an attempt, with all processes that it starts, may hold in RAM. Looked at twice a second, because
    the address space, which the system could limit, is no measure once CUDA has mapped a GPU."""
    read_memory_mb: int = 8192
    """Address space that reading a series may take; the system enforces it, and a larger series is refused."""
    attempts: int = 3
    """How often a stage that crashes is tried before the case fails. Going down the ladder counts for nothing."""

    def timeout_of(self, stage: str) -> float:
        """Wall-clock limit of one attempt of a stage (s)."""
        return self.timeouts_s.get(stage, self.timeout_s)
