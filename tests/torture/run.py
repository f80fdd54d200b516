"""`make torture`: what a hospital network can do to the node, on purpose and a thousand times over.

    python -m tests.torture.run --seconds 300 --faults 10000 --seed 1

Prints a table of figures; the exit status is 1 if a limit was not kept or something happened that never may. Equal
seeds inject equal faults, but a network is never twice the same.
"""

import argparse
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.network.tls import TlsSettings
from tests.certificates import certificates
from tests.torture import damage
from tests.torture.chaos import Chaos
from tests.torture.figures import Figures
from tests.torture.instances import Ledger
from tests.torture.node import NodeUnderTest
from tests.torture.storm import Storm, Turns


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how much."""

    seconds: float
    faults: int
    seed: int
    sockets: int = 300
    connections_per_s: float = 15.0
    """New ones; with the patience of most, about `sockets` are open all the time."""
    cut_step: int = 1
    with_tls: bool = True
    """A second node that listens with TLS, for peers that are silent, or not encrypted, on such a port."""
    turns: Turns = field(default_factory=Turns)
    command: tuple[str, ...] | None = None
    """Another node than ours, for tests of the torture itself."""


def torture(plan: Plan, folder: Path) -> Figures:
    """Run all of it against a node of its own.

    Args:
        plan: how long and how much.
        folder: where the node keeps its files; empty.
    """
    figures, ledger, chance = Figures(), Ledger(), random.Random(plan.seed)
    started = time.monotonic()
    with ExitStack() as stack:
        more = {"command": plan.command} if plan.command else {}
        node = stack.enter_context(NodeUnderTest(folder / "node", **more))
        tls_node = stack.enter_context(_tls_node(folder / "tls-node")) if plan.with_tls else None
        damage.every_cut(node, ledger, figures, plan.cut_step)
        damage.random_changes(node, ledger, figures, chance, max(100, plan.faults // 5))
        damage.random_framing(node, ledger, figures, chance, max(30, plan.faults // 30))
        damage.odd_names(node, ledger, figures)
        ledger.clear(node.spool)
        left_s = plan.seconds - (time.monotonic() - started)
        storm = Storm(node, ledger, figures, plan.sockets, plan.connections_per_s, plan.seed, tls_node, plan.turns)
        storm.run(0.6 * left_s)
        left_s = plan.seconds - (time.monotonic() - started)
        Chaos(node, ledger, figures, chance).run(max(left_s, 5.0), plan.faults)
        figures.add("acknowledged instances compared with the disk", ledger.verified)
        figures.violations += ledger.violations
        strange = damage.lines_that_are_no_events(node.log)
        figures.add("lines in the log that are no events", len(strange), "0", kept=not strange)
    return figures


def _tls_node(folder: Path) -> NodeUnderTest:
    ours = certificates()
    files = {"certificate": ours.server.certificate, "key": ours.server.key, "trusted": ours.authority}
    table = "[tls]\n" + "".join(f'{key} = "{path}"\n' for key, path in files.items())
    good = TlsSettings(ours.client.certificate, ours.client.key, ours.authority)
    return NodeUnderTest(folder, more_settings=table, tls=good.client_context())


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--faults", type=int, default=10_000, help="at most so many by broken transfers and kills")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--sockets", type=int, default=300)
    parser.add_argument("--times", choices=("required", "shown"), default="required",
                        help="whether limits of time count, or are only shown, as on a shared machine")  # fmt: skip
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        figures = torture(Plan(given.seconds, given.faults, given.seed, given.sockets), Path(folder))
    print(figures.table())
    sys.exit(0 if figures.kept(times_too=given.times == "required") else 1)


if __name__ == "__main__":
    main()
