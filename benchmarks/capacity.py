"""How many cases an installation can take: a formula beside a simulation, and what both say of it.

    make capacity                             (with the figures below)
    make capacity NODE=/path/of/node.sqlite   (stage times of your own node)
    make capacity CT=/folder/of/a/series      (measures the figures anew: a node processes that CT; or CT=thorax)

A case passes the queue of the workers once per stage, then the queue of each destination for delivery and verification.
Queues serve the case that came first, so a case that a worker has begun is not overtaken: its stages together are one
service. The formula is that of Allen and Cunneen for M/G/c queues (Erlang's C times half of one plus the squared
coefficient of variation), exact for one worker; what leaves the workers is taken for a Poisson stream, which it is not
quite. The simulation takes nothing for granted but the distributions: cases arrive at random, each stage is queued for
itself and lasts as long as a lognormal variable of the measured mean and variation says.
"""

import argparse
import math
import random
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import simpy
from rich.console import Console
from rich.table import Table

from benchmarks.capacity_figures import MEASURED

STAGES = ("read", "segment", "perfuse", "encode", "check")
SENDS = ("deliver", "verify")
CASES = 10_000
BOUND = 0.1
"""Formula and simulation agree within this share of the time in the system, up to 85 % utilisation."""
PICKED_UP_S = 0.25
"""Queues are looked at twice a second, so this passes on average before a stage that is due begins."""
_ALWAYS_BUSY = 0.985
MOST_UTILISED = 0.7
"""What an installation is sized for in its busiest hour: beyond, waits grow fast and a dead worker is felt."""


@dataclass(frozen=True, slots=True)
class Service:
    """How long something takes that has one queue."""

    mean_s: float
    variation: float = 0.5
    """Standard deviation by mean."""

    def draw(self, chance: random.Random) -> float:
        """One duration, lognormal."""
        spread = math.log(1 + self.variation**2)
        return chance.lognormvariate(math.log(self.mean_s) - spread / 2, math.sqrt(spread))


@dataclass(frozen=True, slots=True)
class Installation:
    """Machines, and what one case asks of them."""

    services: Mapping[str, Service]
    """By stage, and for `deliver` and `verify` of one destination."""
    workers: int
    """One per GPU, or per so many cores as a stage keeps busy."""
    senders: int = 1
    """Hosts that send: each serves every destination, one case at a time."""
    destinations: int = 2


@dataclass(frozen=True, slots=True)
class Load:
    """What a station has to do."""

    utilisation: float
    wait_s: float
    """In the queue; infinite if the station cannot keep up."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What a model says of an installation at a rate of arrivals."""

    work: float
    """Utilisation of the workers."""
    sending: float
    """Utilisation of the senders, for one destination."""
    time_s: float
    """Mean from a complete series to the last destination that has confirmed; infinite if it cannot keep up."""


# -- the formula -------------------------------------------------------------------------------------------------------


def erlang_c(servers: int, offered: float) -> float:
    """Probability that who comes has to wait, with that many servers and so much work offered (in servers)."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    utilisation = offered / servers
    return blocked / (1 - utilisation * (1 - blocked))


def station(services: Sequence[Service], servers: int, cases_per_s: float) -> Load:
    """A queue that every case passes for all of these services, one after the other."""
    mean_s = sum(s.mean_s for s in services)
    scv = sum((s.mean_s * s.variation) ** 2 for s in services) / mean_s**2
    offered = cases_per_s * mean_s
    if offered >= servers:
        return Load(offered / servers, math.inf)
    wait_s = erlang_c(servers, offered) * mean_s / (servers - offered) * (1 + scv) / 2
    return Load(offered / servers, wait_s)


def foretell(installation: Installation, cases_per_s: float) -> Foretold:
    """What the formula says."""
    stages = [installation.services[name] for name in STAGES]
    sends = [installation.services[name] for name in SENDS]
    work = station(stages, installation.workers, cases_per_s)
    sending = station(sends, installation.senders, cases_per_s)
    send_s, spread_s = sum(s.mean_s for s in sends), math.hypot(*(s.mean_s * s.variation for s in sends))
    # The last of several destinations: the largest of so many normal variables (Blom's approximation).
    k = installation.destinations
    last_s = statistics.NormalDist().inv_cdf((k - 0.375) / (k + 0.25)) * spread_s if k > 1 else 0.0
    times_s = (sum(s.mean_s for s in stages), work.wait_s, send_s, sending.wait_s, last_s)
    return Foretold(work.utilisation, sending.utilisation, sum(times_s))


# -- the simulation ----------------------------------------------------------------------------------------------------


def simulate(installation: Installation, cases_per_s: float, cases: int = CASES, seed: int = 1) -> Foretold:
    """What the simulation says; the first tenth, while everything is still empty, is left out.

    An installation that cannot keep up is known by servers that never rest.
    """
    chance = random.Random(seed)
    world = simpy.Environment()
    workers = simpy.PriorityResource(world, installation.workers)
    senders = [simpy.PriorityResource(world, installation.senders) for _ in range(installation.destinations)]
    busy: dict[str, float] = defaultdict(float)
    times: list[float] = []

    def served(queue: simpy.PriorityResource, name: str, station: str, begun: float) -> Iterator[simpy.Event]:
        with queue.request(begun) as turn:
            yield turn
            duration = installation.services[name].draw(chance)
            busy[station] += duration
            yield world.timeout(duration)

    def sent(queue: simpy.PriorityResource, begun: float) -> Iterator[simpy.Event]:
        for name in SENDS:
            yield from served(queue, name, "sending", begun)

    def case() -> Iterator[simpy.Event]:
        begun = world.now
        for name in STAGES:
            yield from served(workers, name, "work", begun)
        yield simpy.AllOf(world, [world.process(sent(queue, begun)) for queue in senders])
        times.append(world.now - begun)

    def arrivals() -> Iterator[simpy.Event]:
        for _ in range(cases):
            yield world.timeout(chance.expovariate(cases_per_s))
            world.process(case())

    world.run(world.process(arrivals()))
    last_s = world.now
    work = busy["work"] / (last_s * installation.workers)
    sending = busy["sending"] / (last_s * installation.senders * installation.destinations)
    kept_up = max(work, sending) < _ALWAYS_BUSY
    return Foretold(work, sending, statistics.fmean(times[len(times) // 10 :]) if kept_up else math.inf)


# -- what an installation needs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Demand:
    """What comes to an installation."""

    name: str
    hospitals: int
    cases_a_day: int
    """Per hospital."""
    busiest_hour: float = 0.2
    """Share of the day's cases that come in its busiest hour: planning CTs are made on working days, in eight hours."""

    @property
    def cases_per_s(self) -> float:
        """In the busiest hour."""
        return self.hospitals * self.cases_a_day * self.busiest_hour / 3600


DEMANDS = (
    Demand("a clinic", 1, 10),
    Demand("a large hospital", 1, 60),
    Demand("a region", 20, 40),
    Demand("a nation", 400, 40),
)


def sized(services: Mapping[str, Service], demand: Demand) -> Installation:
    """The smallest installation that is utilised no more than it should be in the busiest hour."""
    rate = demand.cases_per_s
    workers = sum(services[name].mean_s for name in STAGES) * rate / MOST_UTILISED
    senders = sum(services[name].mean_s for name in SENDS) * rate / MOST_UTILISED
    return Installation(services, max(1, math.ceil(workers)), max(1, math.ceil(senders)))


def services_of(durations: Mapping[str, Sequence[float]], variation: float = 0.5) -> dict[str, Service]:
    """Mean and variation of measured durations; with fewer than ten of a kind their variation is taken as given."""
    services = {}
    for name, seconds in durations.items():
        mean_s = statistics.fmean(seconds)
        many = len(seconds) >= 10
        services[name] = Service(mean_s + PICKED_UP_S, statistics.stdev(seconds) / mean_s if many else variation)
    return services


def durations_in(database: Path) -> dict[str, list[float]]:
    """How long each stage, delivery and verification of this node took, in seconds, without its wait."""
    query = """select workflow_uuid, started_at_epoch_ms, completed_at_epoch_ms from operation_outputs
        where function_name in ('perform', 'transmit') and error is null"""
    durations: dict[str, list[float]] = defaultdict(list)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for name, started, completed in connection.execute(query):
            if (kind := name.split(":")[2].partition(".")[0]) in (*STAGES, *SENDS):
                durations[kind].append((completed - started) / 1000)
    missing = [name for name in (*STAGES, *SENDS) if not durations[name]]
    if missing:
        raise SystemExit(f"{database}: no {', '.join(missing)} has ended well yet")
    return dict(durations)


# -- printing ----------------------------------------------------------------------------------------------------------


def print_services(console: Console, services: Mapping[str, Service]) -> None:
    """What one case takes."""
    table = Table("stage", "mean, s", "variation")
    for name, service in services.items():
        table.add_row(name, f"{service.mean_s:.2f}", f"{service.variation:.2f}")
    console.print(table)
    work_s = sum(services[name].mean_s for name in STAGES)
    per_hour = 3600 * MOST_UTILISED / work_s
    console.print(
        f"One worker: {work_s:.1f} s a case, {per_hour:.0f} cases an hour at {MOST_UTILISED:.0%} utilisation.\n"
    )


def print_agreement(console: Console, services: Mapping[str, Service]) -> None:
    """Formula and simulation side by side."""
    table = Table("workers", "utilisation", "formula, s", "simulation, s", "difference")
    for workers in (1, 4, 16):
        for utilisation in (0.3, 0.5, 0.7, 0.85, 1.1):
            rate = workers * utilisation / sum(services[name].mean_s for name in STAGES)
            senders = math.ceil(sum(services[name].mean_s for name in SENDS) * rate / MOST_UTILISED)
            installation = Installation(services, workers, senders)
            said, seen = foretell(installation, rate), simulate(installation, rate)
            keeps_up = math.isfinite(said.time_s) and math.isfinite(seen.time_s)
            difference = f"{said.time_s / seen.time_s - 1:+.0%}" if keeps_up else "both: it cannot keep up"
            if math.isfinite(said.time_s) != math.isfinite(seen.time_s):
                difference = "they disagree"
            table.add_row(str(workers), f"{utilisation:.0%}", f"{said.time_s:.1f}", f"{seen.time_s:.1f}", difference)
    console.print(table)


def print_demands(console: Console, services: Mapping[str, Service], per_case: Mapping[str, float]) -> None:
    """What installations of several sizes need."""
    table = Table(
        "", "cases a day", "busiest hour", "workers", "senders", "time", "storage, 30 days", "network", "rows"
    )
    for demand in DEMANDS:
        installation = sized(services, demand)
        seen = simulate(installation, demand.cases_per_s)
        a_day = demand.hospitals * demand.cases_a_day
        kept = a_day * 30 * 5 / 7
        mbit_per_s = demand.cases_per_s * 8 * (per_case["received_mb"] + 2 * per_case["sent_mb"])
        table.add_row(
            *(demand.name, f"{a_day:,}", f"{demand.cases_per_s * 3600:,.0f}"),
            *(str(installation.workers), str(installation.senders), f"{seen.time_s:.0f} s"),
            *(f"{kept * per_case['stored_mb'] / 1e6:,.2f} TB", f"{mbit_per_s:,.1f} Mbit/s"),
            f"{kept * per_case['rows']:,.0f}",
        )
    console.print(table)


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", type=Path, help="Database of a node with finished cases.")
    parser.add_argument("--ct", help="Measure anew with this CT, or with the digital thorax: thorax.")
    given = parser.parse_args()
    console, figures = Console(width=150), MEASURED
    if given.ct:
        from benchmarks.capacity_figures import measure

        figures = measure(None if given.ct == "thorax" else Path(given.ct))
        console.print(figures, soft_wrap=True)
    durations = durations_in(given.node) if given.node else figures.durations_s
    services = services_of(durations)
    print_services(console, services)
    print_agreement(console, services)
    print_demands(console, services, figures.per_case)


if __name__ == "__main__":
    main()
