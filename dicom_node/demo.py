"""The main job on one machine: a node, a stand-in PACS, a CT sent over a real association, and what comes back.

Nothing here is a short cut: the node is the real command in a process of its own, the PACS is a storage SCP that keeps
what it gets in a folder, and the CT travels by C-STORE. The demo fails when anything is missing at the end.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from rich.console import Console

from dicom_node.errors import DeliveryError, DemoFailed
from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_database import JobDatabase
from dicom_node.jobs.jobs import JobBook
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, echo, send
from dicom_node.network.storage_folder import StorageFolder
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind
from dicom_node.offline import dicom_files
from dicom_node.output import print_case, print_lobar_table
from dicom_node.progress import Progress

START_LIMIT_S = 180.0
CASE_LIMIT_S = 900.0
_DOING = {
    "read": "reading the CT",
    "segment": "finding lungs and lobes",
    "perfuse": "predicting perfusion",
    "encode": "making objects",
}
ORDERED = (
    ObjectKind.PARAMETRIC_MAP,
    ObjectKind.STRUCTURE_SET,
    ObjectKind.SEGMENTATION,
    ObjectKind.REPORT,
    ObjectKind.SUMMARY_PDF,
)
"""What the stand-in PACS gets."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the demo keeps things, and who listens where."""

    out: Path
    node: AeAddress
    pacs: AeAddress

    @property
    def site_file(self) -> Path:
        return self.out / "site.toml"

    @property
    def data_dir(self) -> Path:
        return self.out / "node"

    @property
    def pacs_folder(self) -> Path:
        return self.out / "pacs"


def run_demo(ct: Path | None, out: Path, console: Console) -> None:
    """Run the demo and show its result.

    Args:
        ct: folder with one CT series, or `None` for the digital thorax.
        out: folder for everything that is made; the parts of an earlier demo in it are replaced.
        console: where to show.

    Raises:
        DemoFailed: anything is missing at the end; the sentence says what.
    """
    place = _prepare(out)
    with Progress(console) as progress:
        progress.say("preparing the CT")
        files = dicom_files(ct) if ct else _digital_thorax(out / "ct")
        if not files:
            raise DemoFailed(f"{ct} holds no DICOM file.")
        pacs = StorageFolder(place.pacs_folder, place.pacs)
        pacs.start()
        try:
            with _running_node(place, progress):
                counted = progress.counter(f"sending the CT to {place.node}", len(files))
                send(files, Destination("node", place.node, calling_ae_title="TPS"), lambda _: counted())
                case = _wait(place, progress)
        finally:
            pacs.stop()
    _show(place, case, files, pacs.instances(), console)


def _prepare(out: Path) -> _Place:
    for name in ("node", "pacs", "ct"):
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    node_port, pacs_port = _free_ports()
    node = AeAddress("PERFNODE", "127.0.0.1", node_port)
    place = _Place(out, node, AeAddress("DEMOPACS", "127.0.0.1", pacs_port))
    place.site_file.write_text(
        "# Written by perfnode demo.\n"
        f'[node]\nae_title = "{node.ae_title}"\nport = {node.port}\ndata_dir = "node"\nquiet_period_s = 2.0\n'
        "minimum_free_mb = 500\n"
        # What is shown to the demo is wanted, also when it calls itself a phantom, and nobody is there to release it.
        '[completeness]\nhold_limit_s = 1.0\n[[rules]]\nname = "demo"\naction = "process"\n'
        '[log]\nformat = "json"\n'
        f'[[destinations]]\nname = "pacs"\nae_title = "{place.pacs.ae_title}"\nhost = "127.0.0.1"\n'
        f"port = {place.pacs.port}\nobjects = {[kind.value for kind in ORDERED]}\n"
    )
    return place


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _digital_thorax(folder: Path) -> list[Path]:
    from inference.ct.instances import ct_instances
    from inference.phantom.thorax import draw_thorax

    folder.mkdir(parents=True)
    for number, dataset in enumerate(ct_instances(draw_thorax().ct), start=1):
        dataset.save_as(folder / f"ct-{number:04d}.dcm", enforce_file_format=True)
    return dicom_files(folder)


@contextmanager
def _running_node(place: _Place, progress: Progress) -> Iterator[None]:
    progress.say("starting the node and its self-test")
    command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(place.site_file)]
    with (place.out / "node.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as node:
        try:
            _wait_until_ready(place, node)
            yield
        finally:
            node.terminate()
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()


def _wait_until_ready(place: _Place, node: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            echo(Destination("node", place.node, calling_ae_title="TPS"))
        except DeliveryError:
            if node.poll() is not None:
                raise DemoFailed(f"The node did not start; see {place.out / 'node.log'}.") from None
            time.sleep(0.3)
        else:
            return
    raise DemoFailed("The node did not answer in time.")


def _wait(place: _Place, progress: Progress) -> Case:
    progress.say("waiting until the series is complete")
    deadline = time.monotonic() + CASE_LIMIT_S
    store = CaseStore.under(place.data_dir)
    with JobBook(JobDatabase.under(place.data_dir), store) as book:
        while time.monotonic() < deadline:
            for case in book.cases():
                if case.is_finished:
                    return case
                delivering = case.state is CaseState.DELIVERING
                doing = store.folder(case.case_id).progress or _DOING.get(case.stage.value, "")
                progress.say(f"delivering to {place.pacs}" if delivering else doing)
            time.sleep(0.3)
    raise DemoFailed("The case was not finished in time.")


def _show(place: _Place, case: Case, files: list[Path], returned: list[Path], console: Console) -> None:
    print_case(console, case)
    if case.state is not CaseState.DELIVERED:
        raise DemoFailed(f"The case ended {case.state.value} {case.code}.")
    folder = CaseStore.under(place.data_dir).folder(case.case_id)
    facts: dict[str, Any] = json.loads(folder.result.with_suffix(".json").read_text())
    print_lobar_table(console, facts)
    summary = place.out / "summary.png"
    shutil.copy(folder.summary, summary)
    _require_returned(files[0], returned)
    console.print("\nReturned to the stand-in PACS:", style="bold")
    for path in returned:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["Modality", "SeriesDescription", "SOPClassUID"])
        console.print(f"  {header.SOPClassUID.name}: {path}", soft_wrap=True, markup=False)
    console.print(f"Picture: {summary}\nLog:     {place.out / 'node.log'}", markup=False, soft_wrap=True)


def _require_returned(sent: Path, returned: list[Path]) -> None:
    """Every object that was ordered must be there, in the study of what was sent."""
    tags = ["StudyInstanceUID", "SOPClassUID"]
    study = dcmread(sent, stop_before_pixels=True, specific_tags=tags).StudyInstanceUID
    headers = [dcmread(path, stop_before_pixels=True, specific_tags=tags) for path in returned]
    found = {header.SOPClassUID for header in headers if header.StudyInstanceUID == study}
    missing = [kind.value for kind in ORDERED if OBJECT_SERIES[kind].sop_class_uid not in found]
    if missing:
        raise DemoFailed(f"The stand-in PACS lacks: {', '.join(missing)}.")
