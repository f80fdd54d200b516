"""What a node keeps through stops, upgrades and the loss of its disk: real processes, with stand-ins for the stages."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from tests.keeping_pacs import KeepingPacs, keeping_pacs
from tests.peers import eventually, free_port
from tests.running_node import RunningNode, running_node
from tests.small_ct import write_series
from tests.upgrades.stage import KINDS, STORAGE, object_uid

CASES = 3
RULES = '[[rules]]\nname = "all"\naction = "process"\n'


class CountingPacs(KeepingPacs):
    """Keeps every content that ever arrived under a UID."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, set[str]] = {}

    def on_store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.contents.setdefault(uid, set()).add(event.dataset.to_json())
        return super().on_store(event)


@pytest.fixture
def pacs() -> CountingPacs:
    return CountingPacs()


@pytest.fixture
def node(tmp_path: Path, pacs: CountingPacs) -> Iterator[RunningNode]:
    """A node with a destination that is there and one that is not, until a test lets it listen."""
    with (
        keeping_pacs(pacs, storage=STORAGE) as here,
        running_node(
            tmp_path / "node",
            [here, AeAddress("ARCHIVE", "127.0.0.1", free_port())],
            quiet_period_s=0.3,
            tables=RULES,
            program="tests.upgrades.node",
        ) as node,
    ):
        yield node


def send_cases(node: RunningNode, folder: Path) -> None:
    for number in range(CASES):
        node.send(write_series(folder / str(number), 2, series=str(UID(f"1.2.3.{number}"))))


def is_mixed(node: RunningNode) -> bool:
    """Whether some cases have been delivered to the first destination, and some are not so far."""
    cases = node.cases()
    done = [case for case in cases if any(a.id.unit == "verify.d0" and not a.is_active for a in case.attempts)]
    return len(cases) == CASES and 0 < len(done) < CASES


def second_destination(node: RunningNode) -> int:
    """The port at which the second destination is awaited."""
    return int(node.site_file.read_text().rpartition('name = "d1"')[2].partition("port = ")[2].split()[0])


def finish(node: RunningNode, pacs: CountingPacs) -> None:
    """Let the second destination listen, and see that every case ends with every object at both, with one content."""
    with ExitStack() as stack:
        later = CountingPacs()
        stack.enter_context(keeping_pacs(later, storage=STORAGE, port=second_destination(node)))
        cases = node.finished_cases(CASES)
    assert [case.state for case in cases] == [CaseState.DELIVERED] * CASES, node.log()
    wanted = {object_uid(case.case_id, kind) for case in cases for kind in KINDS}
    assert set(pacs.stored) == set(later.stored) == wanted
    assert all(len(seen) == 1 for each in (pacs, later) for seen in each.contents.values())
    assert Counter(later.received) == Counter(wanted)


def test_after_the_loss_of_its_disk_and_a_stop_a_node_ends_every_job(
    node: RunningNode, pacs: CountingPacs, tmp_path: Path
) -> None:
    send_cases(node, tmp_path)
    assert eventually(lambda: is_mixed(node), 60.0), node.log()
    made = node.perfnode("backup", str(tmp_path / "backups"))
    assert made.returncode == 0, made.stderr
    node.kill()
    shutil.rmtree(node.data_dir)
    restored = node.perfnode("restore", str(tmp_path / "backups"))
    assert restored.returncode == 0, restored.stderr
    node.start()
    assert node.stop() == 0  # as before an upgrade: with jobs in the queues
    assert not any(case.is_finished for case in node.cases())
    node.start()
    finish(node, pacs)
