"""The ladder that a network goes down when memory runs out; on the CPU, with engines that raise what torch raises."""

from dataclasses import dataclass

import pytest

from inference.errors import OutOfMemory
from inference.execution import Descent, Device, Execution, ExecutionRecord, Rung, climb_down, ladder_of

ALL = (Rung.CONFIGURED, Rung.SMALLER_TILES, Rung.HALF_PRECISION, Rung.CPU)


@dataclass
class Told:
    """What a `Descent` heard."""

    steps: list[tuple[Rung, tuple[Rung, ...]]]

    def __call__(self, now: Rung, left: tuple[Rung, ...]) -> None:
        self.steps.append((now, left))


class FullDownTo:
    """An engine for which memory suffices from one rung downwards."""

    def __init__(self, enough: Rung | None, way: Execution | None = None, device: Device = "cuda") -> None:
        self.enough, self.way = enough, way or Execution(device)

    def ladder(self) -> tuple[Execution, ...]:
        return ladder_of(self.way.device, has_smaller_tiles=True)

    def on(self, execution: Execution) -> "FullDownTo":
        return FullDownTo(self.enough, execution)

    def record(self, why: str) -> ExecutionRecord:
        return ExecutionRecord("net", self.way.device, "float32", (1,), self.way.rung, why)

    def work(self) -> Rung:
        if self.enough is None or self.way.rung.depth < self.enough.depth:
            raise OutOfMemory
        return self.way.rung


@pytest.mark.parametrize(
    ("device", "has_smaller_tiles", "rungs"),
    [
        ("cuda", True, ALL),
        ("cuda", False, (Rung.CONFIGURED, Rung.HALF_PRECISION, Rung.CPU)),
        ("mps", False, (Rung.CONFIGURED, Rung.CPU)),
        ("cpu", True, (Rung.CONFIGURED, Rung.SMALLER_TILES)),
        ("cpu", False, (Rung.CONFIGURED,)),
    ],
)
def test_rungs_that_change_nothing_are_left_out(
    device: Device, has_smaller_tiles: bool, rungs: tuple[Rung, ...]
) -> None:
    ladder = ladder_of(device, has_smaller_tiles=has_smaller_tiles)
    assert tuple(execution.rung for execution in ladder) == rungs
    assert [e.device for e in ladder if e.rung is Rung.CPU] == (["cpu"] if Rung.CPU in rungs else [])
    assert {e.half_precision for e in ladder if e.device == "cpu"} <= {False}


@pytest.mark.parametrize("enough", ALL)
def test_the_highest_rung_that_fits_is_used_and_said(enough: Rung) -> None:
    told = Told([])
    rung, (record,) = climb_down(FullDownTo(enough), FullDownTo.work, Descent(tell=told))
    assert rung is enough
    assert (record.rung, record.why) == (enough, "" if enough is Rung.CONFIGURED else "OUT_OF_MEMORY")
    tried = ALL[: enough.depth + 1]
    assert told.steps == [(now, ALL[now.depth + 1 :]) for now in tried]


def test_an_attempt_after_a_killed_one_begins_lower_and_says_why() -> None:
    told = Told([])
    descent = Descent(Rung.HALF_PRECISION, "STAGE_OUT_OF_MEMORY", told)
    rung, (record,) = climb_down(FullDownTo(Rung.CONFIGURED), FullDownTo.work, descent)
    assert (rung, record.why) == (Rung.HALF_PRECISION, "STAGE_OUT_OF_MEMORY")
    assert told.steps == [(Rung.HALF_PRECISION, (Rung.CPU,))]


@pytest.mark.parametrize(("enough", "start"), [(None, Rung.CONFIGURED), (None, Rung.CPU)])
def test_memory_that_is_short_on_the_last_rung_too_is_an_error(enough: None, start: Rung) -> None:
    with pytest.raises(OutOfMemory):
        climb_down(FullDownTo(enough), FullDownTo.work, Descent(start))


def test_a_rung_that_another_machine_had_and_this_one_has_not_is_no_way_up() -> None:
    """Half precision was next on a GPU; the attempt lands on a host without one."""
    with pytest.raises(OutOfMemory):
        climb_down(FullDownTo(Rung.CONFIGURED, device="cpu"), FullDownTo.work, Descent(Rung.HALF_PRECISION))


def test_other_errors_end_the_descent() -> None:
    def work(engine: FullDownTo) -> None:
        raise ValueError("not about memory")

    with pytest.raises(ValueError, match="not about memory"):
        climb_down(FullDownTo(Rung.CONFIGURED), work, Descent())


def test_an_engine_without_a_network_just_runs_and_nothing_is_recorded() -> None:
    assert climb_down("atlas", str.upper, Descent(Rung.CPU)) == ("ATLAS", ())
