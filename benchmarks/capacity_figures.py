"""What one case takes of a machine, measured: the figures that `benchmarks.capacity` reckons with.

Stages are measured in seconds of processor time, which hardly depends on what else a machine is doing. With the engines
that come with the node a stage keeps about one core busy; a network on a GPU has to be measured where the GPU is.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dicom_node.jobs.cases import CaseFolder

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one CT on one machine."""

    what: str
    """CT, machine and what else it was doing."""
    durations_s: Mapping[str, Sequence[float]]
    """Processor time of each stage; wall-clock time of deliver and verify."""
    per_case: Mapping[str, float]
    """received_mb, sent_mb (per destination), stored_mb, rows, database_mb."""


def measure(ct: Path | None) -> Figures:
    """Let a node process a CT for two archives that confirm, and then each stage of the case again by itself."""
    from benchmarks.capacity import SENDS, durations_in
    from dicom_node.offline import dicom_files
    from inference.ct.instances import ct_instances
    from inference.phantom.thorax import draw_thorax
    from tests.keeping_pacs import KeepingPacs, keeping_pacs
    from tests.running_node import running_node, save_instances
    from tests.upgrades.stage import STORAGE

    with TemporaryDirectory() as scratch:
        paths = dicom_files(ct) if ct else save_instances(ct_instances(draw_thorax().ct), Path(scratch) / "ct")
        with (
            keeping_pacs(KeepingPacs(), storage=STORAGE) as first,
            keeping_pacs(KeepingPacs(), storage=STORAGE) as second,
            running_node(Path(scratch) / "node", [first, second]) as node,
        ):
            node.send(paths)
            (case,) = node.finished_cases()
        folder, sent = node.folder_of(case), durations_in(node.data_dir / "node.sqlite")
        durations = _stages_s(folder, node.site_file) | {name: [round(s, 2) for s in sent[name]] for name in SENDS}
        per_case = {
            "received_mb": _size_mb(folder.received),
            "sent_mb": _size_mb(folder.objects),
            "stored_mb": _size_mb(folder.path),
            "rows": len(case.attempts),
        }
    what = f"{ct.name if ct else 'digital thorax'}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return Figures(what, durations, per_case)


def _stages_s(folder: CaseFolder, site_file: Path) -> dict[str, list[float]]:
    from benchmarks.capacity import STAGES

    found: dict[str, list[float]] = {name: [] for name in STAGES}
    for _ in range(ROUNDS):
        for name in STAGES:
            before = _processor_s()
            command = [
                sys.executable,
                "-m",
                "dicom_node.work.child",
                name,
                str(folder.path),
                str(site_file),
                str(os.getpid()),
            ]
            subprocess.run(command, check=True)
            found[name].append(round(_processor_s() - before, 2))
    return found


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _size_mb(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1)


MEASURED = Figures(
    what="lungdx_A0001 (64 slices of 512 x 512), engines without a network, 2 cores, load 1",
    durations_s={
        "read": [2.79, 2.72, 2.75],
        "segment": [9.84, 9.68, 9.94],
        "perfuse": [2.51, 2.47, 2.3],
        "encode": [4.47, 4.55, 4.61],
        "check": [1.89, 2.2, 1.97],
        "deliver": [0.28, 0.29],
        "verify": [0.54, 0.55],
    },
    per_case={"received_mb": 10.0, "sent_mb": 72.8, "stored_mb": 255.6, "rows": 9},
)
"""By `make capacity CT=…/lungdx_A0001`."""
