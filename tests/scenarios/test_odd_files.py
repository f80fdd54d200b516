"""Every unusual real file, sent to a real node in its own transfer syntax, ends in its stated outcome."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.reception.part10 import file_preamble
from dicom_node.reception.spool import key_of
from tests.odd_files import ODD_FILES, odd_paths
from tests.odd_transfers import AFTERWARDS, ANSWERS, REFUSED_RT, Sendable, in_a_series_of_its_own, sendable
from tests.peers import eventually
from tests.running_node import RunningNode, running_node
from tests.torture.wire import VERIFICATION, Association, Context

SETTLING_S = 500.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("odd"), [], quiet_period_s=0.5) as running:
        yield running


@pytest.fixture(scope="module")
def sent(node: RunningNode, test_data: Path) -> dict[str, tuple[int | None, Sendable]]:
    """C-STORE status, or None for a refused context, and what was sent, by file."""
    answers = {}
    for number, name in enumerate(dict.fromkeys((*ODD_FILES, *AFTERWARDS, *REFUSED_RT))):
        file = in_a_series_of_its_own(sendable(test_data / name), number)
        contexts = (Context(1, file.sop_class_uid, (file.transfer_syntax_uid,)), Context(3, VERIFICATION))
        with Association.open(node.address, contexts) as association:
            status = None
            if 1 in association.accepted:
                status = association.store(file.sop_instance_uid, file.dataset, sop_class_uid=file.sop_class_uid)
                assert status is not None, f"{name}: the node ended the association"
            assert association.release()
        answers[name] = (status, file)
    return answers


def test_each_file_gets_its_answer_at_the_door(sent: dict[str, tuple[int | None, Sendable]]) -> None:
    wanted = {name: ANSWERS[outcome.reception] for name, outcome in ODD_FILES.items()}
    wanted |= dict.fromkeys(REFUSED_RT, (None,)) | dict.fromkeys(AFTERWARDS, (0x0000,))
    assert {name: status for name, (status, _) in sent.items() if status not in wanted[name]} == {}


def test_what_was_accepted_ends_as_stated(node: RunningNode, sent: dict[str, tuple[int | None, Sendable]]) -> None:
    keys = {name: _series_key(file) for name, (status, file) in sent.items() if status == 0}
    assert len(set(keys.values())) == len(keys)
    assert eventually(lambda: len(_outcomes(node)) >= len(keys), SETTLING_S), (_outcomes(node), node.log()[-2000:])
    outcomes = _outcomes(node)
    assert {name: outcomes.get(key) for name, key in keys.items()} == AFTERWARDS
    assert node.answers()


def test_every_file_is_stated(test_data: Path) -> None:
    rt = {str(path.relative_to(test_data)) for path in (test_data / "rt").rglob("*.dcm")}
    assert set(odd_paths(test_data)) | rt == {*ODD_FILES, *AFTERWARDS, *REFUSED_RT}


def _series_key(file: Sendable) -> str:
    """The short name of its series in the log."""
    content = file_preamble(file.sop_class_uid, file.sop_instance_uid, file.transfer_syntax_uid) + file.dataset
    return key_of(str(dcmread(BytesIO(content), stop_before_pixels=True).SeriesInstanceUID))[:8]


def _outcomes(node: RunningNode) -> dict[str, str]:
    """What became of each series, by its short name, as the log tells it."""
    outcomes, series_of = {}, {}
    for event in node.events():
        match event["event"]:
            case "series_put_aside" | "series_held":
                outcomes[event["series"]] = event["code"]
            case "structures_kept":
                outcomes[event["series"]] = "STRUCTURES"
            case "case_opened":
                series_of[event["case"]] = event["series"]
            case "case_rejected" | "case_failed":
                outcomes[series_of[event["case"]]] = event["code"]
    return outcomes
