"""How a network runs, and the ladder down which it goes when memory runs out.

    configured ─▶ smaller tiles ─▶ half precision ─▶ CPU
                  (or batches)     (GPU only)       (full precision, smaller tiles)

An engine with a network names the rungs that change anything for it (`OnLadder`); `climb_down` runs it on the highest
one that it may use and, when memory runs out, on the next. Memory can end in two ways. An exception is met here, in the
same process. A process that was killed knows nothing; whoever started it begins the next one on the next rung, and
reads from `Descent.tell` which one that is.

Smaller tiles and half precision change the numbers a little, so every step is recorded with the result.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, TypeVar, cast, runtime_checkable

from inference.errors import OutOfMemory

Device = Literal["cpu", "cuda", "mps"]


class Rung(StrEnum):
    """The steps of the ladder, from the top."""

    CONFIGURED = "configured"
    """As the settings and the model say."""
    SMALLER_TILES = "smaller-tiles"
    """Windows of half the side, or one slice at a time."""
    HALF_PRECISION = "half-precision"
    """Activations of 16 bits as well."""
    CPU = "cpu"
    """Off the GPU: full precision, smaller tiles."""

    @property
    def depth(self) -> int:
        """0 at the top."""
        return list(Rung).index(self)


@dataclass(frozen=True, slots=True)
class Execution:
    """One way to run a network."""

    device: Device
    rung: Rung = Rung.CONFIGURED

    @property
    def smaller_tiles(self) -> bool:
        """Whether tiles or batches are smaller than the model or the settings say."""
        return self.rung is not Rung.CONFIGURED

    @property
    def half_precision(self) -> bool:
        """Whether activations have 16 bits."""
        return self.rung is Rung.HALF_PRECISION


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """How a network ran in fact; part of the result."""

    network: str
    """Name of the model."""
    device: str
    precision: str
    tile: tuple[int, ...]
    """Window in voxels, or slices at a time."""
    rung: str
    why: str = ""
    """Code of the fault that led down to this rung; empty at the top."""
    numbers_differ: bool = False
    """Whether the result may differ from that of the top rung in more than the last digits."""


@runtime_checkable
class OnLadder(Protocol):
    """An engine whose network can run in several ways."""

    def ladder(self) -> tuple[Execution, ...]:
        """The ways that differ on this machine, from the top; at least one."""
        ...

    def on(self, execution: Execution) -> "OnLadder":
        """The same engine, to run that way."""
        ...

    def record(self, why: str) -> ExecutionRecord:
        """How it runs."""
        ...


@dataclass(frozen=True, slots=True)
class Descent:
    """Where on the ladder a run begins, and who hears of each step."""

    start: Rung = Rung.CONFIGURED
    why: str = ""
    """Code of the fault of the attempt before; empty if there was none."""
    tell: Callable[[Rung, tuple[Rung, ...]], None] = field(default=lambda now, left: None)
    """Called before each try with its rung and the rungs that are left below it."""


E = TypeVar("E")
T = TypeVar("T")


def climb_down(engine: E, work: Callable[[E], T], descent: Descent) -> tuple[T, tuple[ExecutionRecord, ...]]:
    """Run `work` with an engine, on lower and lower rungs for as long as memory runs out.

    Returns:
        What `work` gave, and how the engine ran; nothing is recorded of an engine without a network.

    Raises:
        OutOfMemory: on the last rung too, or no rung is left below the one to start on.
    """
    if not isinstance(engine, OnLadder):
        return work(engine), ()
    executions = [execution for execution in engine.ladder() if execution.rung.depth >= descent.start.depth]
    why = descent.why
    for number, execution in enumerate(executions, start=1):
        descent.tell(execution.rung, tuple(below.rung for below in executions[number:]))
        way = engine.on(execution)
        try:
            return work(cast("E", way)), (way.record(why),)
        except OutOfMemory as fault:
            why = fault.code
    raise OutOfMemory


def ladder_of(device: Device, *, has_smaller_tiles: bool) -> tuple[Execution, ...]:
    """The rungs that change anything on a device; half precision is for GPUs only."""
    rungs = [Execution(device)]
    if has_smaller_tiles:
        rungs.append(Execution(device, Rung.SMALLER_TILES))
    if device == "cuda":
        rungs.append(Execution(device, Rung.HALF_PRECISION))
    if device != "cpu":
        rungs.append(Execution("cpu", Rung.CPU))
    return tuple(rungs)
