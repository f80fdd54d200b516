"""The capacity model: formula and simulation agree, and both can say no."""

import math
from pathlib import Path

import pytest

from benchmarks.capacity import (
    BOUND,
    DEMANDS,
    MOST_UTILISED,
    SENDS,
    STAGES,
    Installation,
    Service,
    durations_in,
    erlang_c,
    foretell,
    services_of,
    simulate,
    sized,
)
from benchmarks.capacity_figures import MEASURED
from tests.finished_jobs import write_rows

SERVICES = services_of(MEASURED.durations_s)
WORK_S = sum(SERVICES[name].mean_s for name in STAGES)


def test_erlang_c_is_what_tables_say() -> None:
    assert erlang_c(1, 0.5) == pytest.approx(0.5)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)


@pytest.mark.parametrize(("workers", "utilisation"), [(1, 0.5), (4, 0.7), (16, 0.85)])
def test_formula_and_simulation_agree_within_the_stated_bound(workers: int, utilisation: float) -> None:
    rate = workers * utilisation / WORK_S
    installation = Installation(SERVICES, workers, senders=4)
    said, seen = foretell(installation, rate), simulate(installation, rate, 4000)
    assert said.time_s == pytest.approx(seen.time_s, rel=BOUND)
    assert said.work == pytest.approx(seen.work, rel=BOUND)
    assert said.time_s > WORK_S


@pytest.mark.parametrize("slow", ["work", "sending"])
def test_an_installation_that_cannot_keep_up_is_seen_by_both(slow: str) -> None:
    send_s = sum(SERVICES[name].mean_s for name in SENDS)
    rate = 1.1 * (2 / WORK_S if slow == "work" else 1 / send_s)
    workers = 2 if slow == "work" else math.ceil(2 * rate * WORK_S)
    installation = Installation(SERVICES, workers, senders=1)
    assert foretell(installation, rate).time_s == math.inf
    assert simulate(installation, rate, 2000).time_s == math.inf


def test_a_formula_without_waiting_is_caught_by_the_simulation() -> None:
    """The bound is no rubber stamp: at 85 % most of the time of one worker's cases is waiting."""
    installation = Installation(SERVICES, 1, senders=4)
    seen = simulate(installation, 0.85 / WORK_S, 4000)
    assert seen.time_s > (1 + BOUND) * sum(service.mean_s for service in SERVICES.values())


@pytest.mark.parametrize("demand", DEMANDS, ids=lambda demand: demand.name)
def test_every_installation_is_as_small_as_it_can_be(demand) -> None:  # type: ignore[no-untyped-def]
    installation = sized(SERVICES, demand)
    assert foretell(installation, demand.cases_per_s).work <= MOST_UTILISED
    if installation.workers > 1:
        smaller = Installation(SERVICES, installation.workers - 1, installation.senders)
        assert foretell(smaller, demand.cases_per_s).work > MOST_UTILISED


def test_stage_times_are_read_from_the_database_of_a_node(tmp_path: Path) -> None:
    rows = {f"00aa:1:{name}:1": {"result": "done"} for name in STAGES}
    rows |= {f"00aa:1:{name}.pacs:{k}": {"result": "done"} for k, name in enumerate(SENDS, 1)}
    write_rows(tmp_path, rows)
    found = durations_in(tmp_path / "node.sqlite")
    assert set(found) == {*STAGES, *SENDS}
    assert all(0 <= seconds < 10 for many in found.values() for seconds in many)
    assert services_of({"read": [2.0, 4.0]})["read"] == Service(3.25, 0.5)
