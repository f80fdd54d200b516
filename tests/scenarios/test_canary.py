"""Nothing that identifies a patient stands anywhere but in DICOM files and in what must name its series.

A real node at log level debug takes good, refused, interrupted, malformed, conflicting, lossy and structure set
transfers of one canary patient, delivers, fails to deliver, and loses a child process to kill -9. Then everything that
was written is searched: logs, standard error, temporary folder, file names, command lines, environment, database,
audit trail and case folders.
"""

import os
import re
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import requests
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit, MRImageStorage

from dicom_node.errors import DeliveryError
from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, echo
from dicom_node.network.storage_folder import StorageFolder
from inference.ct.series import read_ct_series
from tests.canaries import ROI_NAME, UID_ROOT, found_in, holding_files, mark
from tests.dicom_node.watching.test_alerts import web_hook
from tests.peers import associate, eventually, free_port, store_bytes
from tests.rt_structures import cylinder, structure_set
from tests.running_node import RunningNode, save_instances
from tests.small_ct import encoded
from tests.stalled_node import STALLED

pytestmark = pytest.mark.timeout(7200)
LONG_S = 3600.0
"""Ends a test that would never end; nothing here depends on how fast the computer is."""

SITE = """
[node]
port = {port}
data_dir = "data"
quiet_period_s = 1.0
minimum_free_mb = 100
[work]
retry_delays_s = [1, 1, 1]
[inference]
perfusion = "densitometric"
subtract_structures = ["GTV.*"]
[log]
format = "json"
level = "debug"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs}
verify = "none"
objects = ["parametric-map", "structure-set", "summary-pdf", "summary-image"]
[[destinations]]
name = "nobody"
ae_title = "NOBODY"
host = "127.0.0.1"
port = {nobody}
[status]
port = {page}
[[alerts]]
name = "hook"
url_file = "hook.url"
"""
PAGES = ("/metrics", "/health/ready", "/health/live")
MAY_NAME_A_SERIES = re.compile(
    r"data/cases/[0-9a-f]+/(case\.json|ct\.json|ct\.npz|lobes\.json|lobes\.npz|result\.json|result\.npz|objects\.json)|data/results/[0-9a-f]+\.json"
)
"""Files beside DICOM files that hold UIDs and names of subtracted structures, as a result must know what it was made
from. Nothing else of a patient may stand there."""


@dataclass
class Watched:
    """What a node's processes showed to everybody on the computer, while it worked."""

    node: RunningNode
    seen: dict[str, list[str]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self.over.wait(0.1):
            with suppress(psutil.Error, AssertionError):
                assert self.node.process is not None
                parent = psutil.Process(self.node.process.pid)
                for process in (parent, *parent.children(recursive=True)):
                    with suppress(psutil.Error):
                        shown = " ".join(process.cmdline()) + repr(process.environ()) + process.name()
                        if words := found_in(shown.encode()):
                            self.seen[process.name()] = words


@dataclass(frozen=True)
class Aftermath:
    """A node that has seen it all and has been stopped."""

    node: RunningNode
    temporary: Path
    shown: dict[str, list[str]]
    operator_output: str
    """What commands and the status page showed."""
    case_shown: str
    """What a command showed of the good case."""
    told: str
    """What went to a web hook."""


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory, thorax_instances: list[Dataset]) -> Aftermath:
    folder, temporary = tmp_path_factory.mktemp("canary"), tmp_path_factory.mktemp("canary-tmp")
    pacs = StorageFolder(tmp_path_factory.mktemp("canary-pacs"), AeAddress("PACS", "127.0.0.1", free_port()))
    pacs.start()
    page = free_port()
    with pytest.MonkeyPatch.context() as patch, web_hook() as (hook, url):
        patch.setenv("TMPDIR", str(temporary))
        address = AeAddress("PERFNODE", "127.0.0.1", free_port())
        node = RunningNode(folder, address, program="tests.stalled_node")
        (folder / "hook.url").write_text(url)
        ports = {"port": node.address.port, "pacs": pacs.address.port, "nobody": free_port(), "page": page}
        node.site_file.write_text(SITE.format(**ports))
        node.start()
        watched = Watched(node)
        watcher = threading.Thread(target=watched.look)
        watcher.start()
        try:
            output = _everything(node, thorax_instances, folder.parent / "canary-sent")
            output += "".join(requests.get(f"http://127.0.0.1:{page}{path}", timeout=LONG_S).text for path in PAGES)
            case_shown = _case_shown(node)
            assert eventually(lambda: bool(hook.came), LONG_S), node.log()[-3000:]  # a series in conflict is held
        finally:
            watched.over.set()
            watcher.join()
            node.stop()
            pacs.stop()
    return Aftermath(node, temporary, watched.seen, output, case_shown, repr(hook.came))


def _everything(node: RunningNode, thorax: list[Dataset], sent: Path) -> str:
    good = [mark(deepcopy(dataset), 1, number) for number, dataset in enumerate(thorax, start=1)]
    _send_structures(node, good, sent)
    with _a_stage_killed(node):
        node.send(save_instances(good, sent / "good"))
        _refused(node, thorax, sent)
        _bad_transfers(node, good)
    assert eventually(lambda: _is_over(node), LONG_S), node.log()[-3000:]
    shown = [node.perfnode(*words) for words in (["jobs"], ["health"])]
    assert shown[0].returncode == 0, shown
    return "".join(done.stdout + done.stderr for done in shown)


def _case_shown(node: RunningNode) -> str:
    """What `perfnode show` says of the good case."""
    good = next(case for case in node.cases() if case.state is not CaseState.REJECTED)
    done = node.perfnode("show", good.case_id)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def _send_structures(node: RunningNode, good: list[Dataset], sent: Path) -> None:
    ct = read_ct_series(good)
    drawn = structure_set(ct.grid, ct.source, {ROI_NAME: cylinder((20, 21), 30.0, 30.0, 4.0)}, uid=f"{UID_ROOT}.9")
    node.send(save_instances([mark(drawn, 9, 1)], sent / "structures"))


def _refused(node: RunningNode, thorax: list[Dataset], sent: Path) -> None:
    """Series that end as rejected cases: no CT, too few slices."""
    magnetic = [mark(deepcopy(dataset), 2, number) for number, dataset in enumerate(thorax[:3], start=1)]
    for dataset in magnetic:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
        dataset.Modality = "MR"
    node.send(save_instances(magnetic, sent / "mr"))
    node.send(save_instances([mark(deepcopy(d), 3, n) for n, d in enumerate(thorax[:5], start=1)], sent / "few"))


def _bad_transfers(node: RunningNode, good: list[Dataset]) -> None:
    """What is answered with a failure, cut off, or refused before it can be sent."""
    dataset = mark(deepcopy(good[0]), 4, 1)
    content, sop_class, uid = encoded(dataset), str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
    with suppress(DeliveryError):
        echo(Destination("node", AeAddress("WRONG", *node.address.endpoint), calling_ae_title="TPS"))
    association = associate(node.address)
    assert store_bytes(association, sop_class, uid, content) == 0
    assert store_bytes(association, sop_class, uid, content[:-2] + b"\1\1") not in (0, None)
    assert store_bytes(association, sop_class, uid, content[:-100]) not in (0, None)
    assert store_bytes(association, sop_class, f"{UID_ROOT}.99", content) not in (0, None)
    association.dul.socket.socket.sendall(b"\x04\0\0\0\0\x40\0\0\0\x3c\1\2" + content[:58])
    association.abort()
    association = associate(node.address)
    broken = content.replace(b"\x28\0\x10\0US\2\0", b"\x28\0\x10\0ZZ\2\0", 1)
    assert store_bytes(association, sop_class, uid, broken) not in (0, None)
    association.release()
    assert not associate(node.address, syntax=JPEGBaseline8Bit).is_established
    implicit = associate(node.address, syntax=ImplicitVRLittleEndian)
    assert store_bytes(implicit, sop_class, uid, content) not in (0, None)  # explicit bytes
    implicit.abort()


@contextmanager
def _a_stage_killed(node: RunningNode) -> Iterator[None]:
    """Kills the stage in the middle of the good case, which waits for that; the stage is tried again."""
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(_kill_a_stage, node)
        yield
        assert killed.result(), node.log()[-3000:]


def _kill_a_stage(node: RunningNode) -> bool:
    """Whether a stage was seen that held the case, and killed."""
    return eventually(lambda: any(_killed(folder.parent) for folder in _stalled(node)), LONG_S)


def _stalled(node: RunningNode) -> list[Path]:
    return list((node.data_dir / "cases").glob(f"*/{STALLED}"))


def _killed(case: Path) -> bool:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "perfuse" in (words := process.cmdline()) and str(case) in words:
                process.kill()
                return True
    return False


def _is_over(node: RunningNode) -> bool:
    """Whether the good case has been delivered to one destination and the refused ones have ended."""
    states = [case.state for case in node.cases()]
    good = [case for case in node.cases() if case.state not in (CaseState.REJECTED,)]
    delivered = any(
        attempt.id.stage == "deliver" and not attempt.is_active for case in good for attempt in case.attempts
    )
    return states.count(CaseState.REJECTED) >= 1 and delivered


def test_logs_and_operator_output_name_nobody(aftermath: Aftermath) -> None:
    log = aftermath.node.log()
    assert '"level": "debug"' in log
    assert {"INSTANCE_CONFLICT", "INVALID_INSTANCE", "INSTANCE_MISMATCH"} <= {
        e.get("code") for e in aftermath.node.events()
    }
    assert found_in(log.encode()) == []
    assert found_in(aftermath.operator_output.encode()) == []


def test_who_asks_for_a_case_is_told_which_structures_were_subtracted_and_nothing_else(aftermath: Aftermath) -> None:
    assert set(found_in(aftermath.case_shown.encode())) == {"ZZROINAME"}


def test_metrics_and_messages_to_people_name_nobody(aftermath: Aftermath) -> None:
    shown = aftermath.operator_output
    for word in ("perfnode_stage_seconds_bucket", "perfnode_instances_refused_total", '"ready"'):
        assert word in shown
    assert "CONFLICT" in aftermath.told
    assert found_in(aftermath.told.encode()) == []


def test_every_line_of_the_log_is_an_event(aftermath: Aftermath) -> None:
    assert [line for line in aftermath.node.log().splitlines() if not line.startswith("{")] == []


def test_the_temporary_folder_holds_nothing(aftermath: Aftermath) -> None:
    assert list(holding_files(aftermath.temporary)) == []


def test_no_file_name_says_who(aftermath: Aftermath) -> None:
    names = [
        str(path.relative_to(folder))
        for folder in (aftermath.node.data_dir, aftermath.temporary)
        for path in folder.rglob("*")
    ]
    assert [name for name in names if found_in(name.encode())] == []


def test_no_process_shows_who(aftermath: Aftermath) -> None:
    assert aftermath.shown == {}


def test_only_dicom_files_hold_the_patient_and_only_case_data_its_uids(aftermath: Aftermath) -> None:
    leaks = {}
    for path, words in holding_files(aftermath.node.folder):
        name = str(path.relative_to(aftermath.node.folder))
        if path.suffix == ".dcm":
            continue
        if MAY_NAME_A_SERIES.fullmatch(name) and set(words) <= {UID_ROOT, "ZZROINAME"}:
            continue
        leaks[name] = words
    assert leaks == {}


def test_what_holds_the_patient_is_readable_by_nobody_else(aftermath: Aftermath) -> None:
    open_to_others = [
        f"{path.relative_to(aftermath.node.folder)} {stat.filemode(path.stat().st_mode)}"
        for path in (aftermath.node.data_dir, *aftermath.node.data_dir.rglob("*"))
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) and os.path.lexists(path)
    ]
    assert open_to_others == []
