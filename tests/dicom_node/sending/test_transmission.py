"""Delivery and verification of one case to archives that lose, refuse, abort, hang, commit partly or never report.

The engine around it is a loop without waits: each attempt is made, and what it says comes next is made at once.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, ParametricMapStorage

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.attempts import Attempt, AttemptId, CaseState, case_of
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.following import after
from dicom_node.jobs.stages import Stage
from dicom_node.network.addresses import AeAddress
from dicom_node.sending.transmission import Transmission
from dicom_node.settings.config import NodeSettings, parse_settings
from tests.dicom_node.network.test_commitment import node
from tests.keeping_pacs import KeepingPacs, keeping_pacs
from tests.peers import free_port, orthanc
from tests.small_ct import small_ct, write_file

MAP = "2.25.100"
SLICES = [f"2.25.200.{number}" for number in (1, 2, 3)]
EVERYTHING = [MAP, *SLICES]


@dataclass
class Case:
    """One case with four objects, on its way to one destination."""

    folder: CaseFolder
    settings: NodeSettings
    attempts: list[Attempt] = field(default_factory=list)

    def run(self, most: int = 12, *, run: int = 1) -> CaseState:
        """Make attempts from a first delivery on, until nothing follows or there are so many; the state of the case."""
        return self._go_on(AttemptId("c", run, "deliver.pacs", 1), most)

    def resume(self, most: int = 12) -> CaseState:
        """Go on after the last attempt."""
        last = self.attempts[-1]
        return self._go_on(next_of(last.id, last.output), most)

    def perform(self, attempt: AttemptId) -> dict[str, Any]:
        work = Transmission(self.settings, lambda case_id: self.attempts, commitment_wait_s=2.0)
        return work.perform(self.folder, attempt)

    def _go_on(self, attempt: AttemptId | None, most: int) -> CaseState:
        while attempt is not None and len(self.attempts) < most:
            output = self.perform(attempt)
            self.attempts.append(Attempt(attempt, "SUCCESS", output, 1.0, 2.0))
            attempt = next_of(attempt, output)
        return case_of(self.attempts).state

    @property
    def way(self) -> list[str]:
        """The attempts as `deliver done`, `verify NOT_CONFIRMED`, …"""
        return [f"{a.id.stage} {a.output.get('code') or a.output['result']}" for a in self.attempts]

    @property
    def code(self) -> str:
        return case_of(self.attempts).code


def make_case(folder: Path, address: AeAddress, verify: str = "auto", **work: Any) -> Case:
    settings = parse_settings(
        {
            "node": {"data_dir": "data"},
            "work": {"retry_delays_s": [10, 20, 30], **work},
            "destinations": [
                {
                    "name": "pacs",
                    "ae_title": address.ae_title,
                    "host": address.host,
                    "port": address.port,
                    "objects": ["parametric-map", "mr-twin"],
                    "verify": verify,
                }
            ],
        },
        base=folder,
    )
    case = CaseFolder(folder / "case")
    make_directory(case.objects)
    write(case, "parametric-map", MAP, ParametricMapStorage, "2.25.10")
    for number, uid in enumerate(SLICES, start=1):
        write(case, f"mr-twin-{number:04d}", uid, MRImageStorage, "2.25.20")
    write_json(case.contents, {"ordered": ["parametric-map", "mr-twin"], "result": ""})
    return Case(case, settings)


def write(case: CaseFolder, name: str, uid: str, sop_class: str, series: str) -> None:
    dataset = small_ct(series=series)
    dataset.SOPInstanceUID, dataset.SOPClassUID = uid, sop_class
    write_file(case.objects, dataset).rename(case.objects / f"{name}.dcm")


@pytest.fixture
def pacs() -> KeepingPacs:
    return KeepingPacs()


# -- the good case ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "verify", "by"),
    [
        ({}, "auto", "commitment"),
        ({"commits": False}, "auto", "find"),
        ({"finds": False}, "auto", "commitment"),
        ({}, "find", "find"),
        ({}, "commitment", "commitment"),
    ],
)
def test_delivered_means_that_the_archive_has_confirmed_every_object(
    tmp_path: Path, pacs: KeepingPacs, offers: dict[str, bool], verify: str, by: str
) -> None:
    with keeping_pacs(pacs, **offers) as address:
        case = make_case(tmp_path, address, verify)
        assert case.run() is CaseState.DELIVERED
    assert case.way == ["deliver done", "verify done"]
    assert case.attempts[-1].output["confirmed"] == dict.fromkeys(EVERYTHING, by)
    assert pacs.received == EVERYTHING
    assert set(pacs.asked) == {by}


def test_a_peer_that_can_say_nothing_leaves_the_case_delivered_with_a_word_about_it(
    tmp_path: Path, pacs: KeepingPacs
) -> None:
    with keeping_pacs(pacs, commits=False, finds=False) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.DELIVERED
    assert case.code == "UNVERIFIED"


def test_a_site_may_ask_for_no_verification(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address, "none")
        assert case.run() is CaseState.DELIVERED
    assert (case.way, case.code, pacs.asked) == (["deliver done"], "", [])


def test_a_report_on_an_association_of_the_archive_is_heard(tmp_path: Path, pacs: KeepingPacs) -> None:
    with node(tmp_path / "data") as ours, keeping_pacs(pacs, finds=False) as address:
        pacs.report_to = ours.address
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.DELIVERED
    assert case.attempts[-1].output["confirmed"] == dict.fromkeys(EVERYTHING, "commitment")


# -- archives that lose ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", ["commitment", "find"])
def test_what_an_archive_has_lost_is_sent_again_with_the_same_uid_and_nothing_else(
    tmp_path: Path, pacs: KeepingPacs, verify: str
) -> None:
    pacs.forgets = {SLICES[1]}
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address, verify)
        assert case.run() is CaseState.DELIVERED
    assert pacs.received == [*EVERYTHING, SLICES[1]]
    assert case.way[-3:] == ["verify NOT_STORED", "deliver done", "verify done"]
    assert case.way.count("verify NOT_CONFIRMED") == (2 if verify == "find" else 0)  # it may only be slow to list it


def test_an_archive_that_keeps_losing_is_a_failure_that_names_it(tmp_path: Path, pacs: KeepingPacs) -> None:
    class Loses(set):
        def discard(self, element: str) -> None:
            """Never stops losing."""

    pacs.forgets = Loses([MAP])
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.FAILED
    assert case.code == "NOT_STORED"
    assert pacs.received.count(MAP) == 4
    assert pacs.received.count(SLICES[0]) == 1


def test_partial_commitment_is_no_commitment_until_the_rest_follows(tmp_path: Path, pacs: KeepingPacs) -> None:
    pacs.commits_to = lambda uid: uid != MAP or pacs.asked.count("commitment") > 2
    with keeping_pacs(pacs, finds=False) as address:
        case = make_case(tmp_path, address, "commitment")
        assert case.run() is CaseState.DELIVERED
    assert case.way == ["deliver done", "verify NOT_CONFIRMED", "verify NOT_CONFIRMED", "verify done"]
    assert pacs.received == EVERYTHING


def test_an_archive_that_never_reports_is_asked_by_query_or_waited_for_or_said_to_be_unverified(
    tmp_path: Path, pacs: KeepingPacs
) -> None:
    pacs.reports = False
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path / "query", address)
        assert case.run() is CaseState.DELIVERED
        assert set(case.attempts[-1].output["confirmed"].values()) == {"find"}
        strict = make_case(tmp_path / "strict", address, "commitment", give_up_after_h=0.01)
        assert strict.run() is CaseState.FAILED
        assert strict.code == "NOT_CONFIRMED"
    with keeping_pacs(pacs, finds=False) as address:
        case = make_case(tmp_path / "neither", address)
        assert case.run() is CaseState.DELIVERED
        assert case.code == "UNVERIFIED"


def test_a_site_that_wants_commitment_does_not_settle_for_less(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs, commits=False) as address:
        case = make_case(tmp_path, address, "commitment")
        assert case.run() is CaseState.FAILED
    assert case.code == "COMMITMENT_REFUSED"


# -- archives that refuse, abort and hang ----------------------------------------------------------------------------


def abort(event: Any) -> int:
    event.assoc.abort()
    return 0xC000


def hang(event: Any) -> int:
    time.sleep(1.0)
    return 0xC000


def test_only_what_is_not_stored_yet_is_sent_again_after_a_full_disk(tmp_path: Path, pacs: KeepingPacs) -> None:
    pacs.statuses = [0x0000, 0xA700, 0x0000, 0xA700]
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.DELIVERED
    assert case.way == ["deliver STORE_REFUSED", "deliver done", "verify done"]
    assert pacs.received == [*EVERYTHING, SLICES[0], SLICES[2]]
    assert 10.0 <= case.attempts[0].output["wait_s"] <= 12.0


def test_what_was_stored_before_an_abort_is_not_sent_again_and_the_unknown_one_is(
    tmp_path: Path, pacs: KeepingPacs
) -> None:
    pacs.statuses = [0x0000, 0x0000, abort]
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.DELIVERED
    assert case.way == ["deliver DELIVERY_INTERRUPTED", "deliver done", "verify done"]
    assert pacs.received == [*EVERYTHING[:3], SLICES[1], SLICES[2]]


def test_a_warning_counts_as_stored_and_is_verified_like_the_rest(tmp_path: Path, pacs: KeepingPacs) -> None:
    pacs.statuses = [0xB007, 0xB000, 0xB006]
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.DELIVERED
    assert [i["status"] for i in case.attempts[0].output["instances"]] == [0xB007, 0xB000, 0xB006, 0x0000]
    assert len(case.attempts[-1].output["confirmed"]) == 4


def test_a_refused_class_is_a_dead_letter_at_once_and_the_rest_is_stored(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs, storage=[MRImageStorage]) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.FAILED
    assert case.way == ["deliver STORE_REFUSED"]
    assert pacs.received == SLICES
    assert [(i["object"], i["status"], i["stored"]) for i in case.attempts[0].output["instances"]][:2] == [
        ("parametric-map", 0x0122, False),
        ("mr-twin-0001", 0x0000, True),
    ]


@pytest.mark.parametrize(("status", "tries"), [(0xA900, 1), (0x0124, 1), (0xC123, 2)])
def test_a_refusal_for_good_is_tried_again_only_where_peers_give_it_for_passing_troubles(
    tmp_path: Path, pacs: KeepingPacs, status: int, tries: int
) -> None:
    pacs.statuses = [status] * 100
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.FAILED
    assert case.way == ["deliver STORE_REFUSED"] * tries


def test_answers_of_failure_use_up_attempts(tmp_path: Path, pacs: KeepingPacs) -> None:
    pacs.statuses = [0xA700] * 100
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        assert case.run() is CaseState.FAILED
    assert case.way == ["deliver STORE_REFUSED"] * 4


def test_an_absent_archive_is_waited_for_and_becomes_a_dead_letter_at_last(tmp_path: Path) -> None:
    case = make_case(tmp_path, AeAddress("PACS", "127.0.0.1", free_port()), give_up_after_h=0.03)
    assert case.run() is CaseState.FAILED
    assert case.code == "PEER_UNREACHABLE"
    waits = [a.output["wait_s"] for a in case.attempts]
    assert sum(waits) >= 0.03 * 3600
    assert len(waits) == 6
    # A person sends it again once the archive is back.
    pacs = KeepingPacs()
    with keeping_pacs(pacs) as address:
        case.settings = make_case(tmp_path, address).settings
        assert case.run(run=2) is CaseState.DELIVERED
    assert pacs.received == EVERYTHING


def test_an_archive_that_goes_away_between_store_and_verification_is_asked_later(
    tmp_path: Path, pacs: KeepingPacs
) -> None:
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        case.run(most=1)
    assert case.resume(most=3) is CaseState.DELIVERING
    assert case.way == ["deliver done", "verify PEER_UNREACHABLE", "verify PEER_UNREACHABLE"]
    with keeping_pacs(pacs) as address:
        case.settings = make_case(tmp_path, address).settings
        assert case.resume() is CaseState.DELIVERED
    assert pacs.received == EVERYTHING


@pytest.mark.peers
@pytest.mark.parametrize("verify", ["commitment", "find"])
def test_an_instance_deleted_in_orthanc_after_it_was_stored_is_sent_again(tmp_path: Path, verify: str) -> None:
    with node(tmp_path / "data") as ours:
        modality = {"us": {"AET": "PERFNODE", "Host": "127.0.0.1", "Port": ours.address.port}}
        with orthanc(tmp_path / "orthanc", options={"DicomModalities": modality}) as pacs:
            case = make_case(tmp_path, pacs.address, verify)
            case.run(most=1)
            assert case.way == ["deliver done"]
            lost = next(
                i for i in pacs.get("/instances") if pacs.get(f"/instances/{i}/tags")["0008,0018"]["Value"] == MAP
            )
            pacs.delete(f"/instances/{lost}")
            assert len(pacs.get("/instances")) == 3
            assert case.resume() is CaseState.DELIVERED
            assert len(pacs.get("/instances")) == 4
    assert case.way[-3:] == ["verify NOT_STORED", "deliver done", "verify done"]
    assert [i["sop_instance_uid"] for i in case.attempts[-2].output["instances"]] == [MAP]
    assert case.attempts[-1].output["confirmed"] == dict.fromkeys(EVERYTHING, verify)


@pytest.mark.peers
@pytest.mark.parametrize("may_ask", [True, False])
def test_orthanc_as_it_is_installed_does_not_know_us_and_the_case_does_not_fail_for_that(
    tmp_path: Path, may_ask: bool
) -> None:
    with orthanc(tmp_path / "orthanc", options={"DicomAlwaysAllowFind": may_ask}) as pacs:
        case = make_case(tmp_path, pacs.address)
        assert case.run() is CaseState.DELIVERED
        assert len(pacs.get("/instances")) == 4
    unsure = ["verify NOT_CONFIRMED"] * 3  # an archive that ends the association may only be busy
    assert case.way == ["deliver done", *(["verify done"] if may_ask else [*unsure, "verify UNVERIFIED"])]


@pytest.mark.peers
def test_a_web_service_gets_every_object_and_is_asked_whether_it_has_them(tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc", dicomweb=True) as archive:
        case = make_case(tmp_path, archive.address)
        site = {"name": "pacs", "dicomweb_url": archive.dicomweb_url, "objects": ["parametric-map", "mr-twin"]}
        case.settings = parse_settings({"node": {"data_dir": "data"}, "destinations": [site]}, base=tmp_path)
        assert case.run() is CaseState.DELIVERED
        assert len(archive.get("/instances")) == 4
    assert case.way == ["deliver done", "verify done"]
    assert case.attempts[-1].output["confirmed"] == dict.fromkeys(EVERYTHING, "find")


def test_a_notice_is_not_verified(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        make_directory(case.folder.notice)
        write_file(case.folder.notice, notice())
        output = case.perform(AttemptId("c", 1, "tell.pacs", 1))
    assert next_of(AttemptId("c", 1, "tell.pacs", 1), output) is None
    assert (output["result"], pacs.asked) == ("done", [])


def next_of(attempt: AttemptId, output: dict[str, Any]) -> AttemptId | None:
    return next((then.attempt for then in after(attempt, output, 1)), None)


def notice() -> Dataset:
    dataset = small_ct()
    dataset.SOPClassUID = MRImageStorage
    return dataset


def test_the_same_attempt_asks_under_the_same_transaction_and_another_one_under_another(
    tmp_path: Path, pacs: KeepingPacs
) -> None:
    with keeping_pacs(pacs) as address:
        case = make_case(tmp_path, address)
        case.run(most=1)
        second, third = (AttemptId("c", 1, f"{Stage.VERIFY}.pacs", number) for number in (2, 3))
        outputs = [case.perform(attempt) for attempt in (second, second, third)]
    first, again, other = (output["transaction"] for output in outputs)
    assert first == again != other
    assert pacs.asked.count("commitment") == 2  # the answer to the first was known already
