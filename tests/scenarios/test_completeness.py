"""A whole study at the front door: what is processed, what waits and why, and what a person changes about it.

One node for all: it asks an Orthanc how many images a series has, and goes on after a second where that knows nothing.
"""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import MRImageStorage

from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from dicom_node.reception.spool import key_of
from tests.peers import Orthanc, eventually, free_port, orthanc, storescu
from tests.running_node import CASE_LIMIT_S, RunningNode, perfnode, running_node, save_instances

PERSON = {
    "PatientID": "CANARY-ID",
    "PatientName": "Real^Person",
    "StudyDescription": "Lung",
    "SeriesDescription": "Thorax",
}
HOLE = ("HELD", "SLICES_MISSING")
CUT_OFF = ("INTERRUPTED", "INTERRUPTED")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path_factory.mktemp("pacs"), AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("archive") / "orthanc") as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: StorageFolder, archive: Orthanc) -> Iterator[RunningNode]:
    peer = f'[[peers]]\nname = "archive"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {archive.address.port}\n'
    tables = f'[completeness]\ncount_from = "archive"\ncount_wait_s = 1\n{peer}'
    folder = tmp_path_factory.mktemp("node")
    with running_node(folder, [pacs.address], orders=['objects = ["structure-set"]'], tables=tables) as running:
        yield running


class Series:
    """The digital thorax as a series of a person."""

    def __init__(self, number: int, thorax: Sequence[Dataset], folder: Path, **attributes: Any) -> None:
        self.uid = f"2.25.88.{number}"
        self.key = key_of(self.uid)[:8]
        self.study = f"2.25.87.{number // 10}"
        datasets = deepcopy(list(thorax))
        for index, dataset in enumerate(datasets):
            dataset.SeriesInstanceUID, dataset.StudyInstanceUID = self.uid, self.study
            dataset.SOPInstanceUID = f"{self.uid}.{index + 1}"
            for keyword, value in {**PERSON, **attributes}.items():
                setattr(dataset, keyword, value)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        self.paths = save_instances(datasets, folder / str(number))

    def without(self, *indices: int) -> list[Path]:
        return [path for index, path in enumerate(self.paths) if index not in indices]

    def arrival(self, node: RunningNode) -> dict[str, Any] | None:
        """How `perfnode jobs` lists it while it is no case."""
        listed = json.loads(node.perfnode("jobs", "--json").stdout)["arrivals"]
        return next((arrival for arrival in listed if arrival["series_key"].startswith(self.key)), None)

    def state(self, node: RunningNode) -> tuple[str, str] | None:
        arrival = self.arrival(node)
        return (arrival["state"], arrival["code"]) if arrival else None

    def waits(self, node: RunningNode, state: tuple[str, str]) -> bool:
        return eventually(lambda: self.state(node) == state, 60.0)

    def cases(self, node: RunningNode) -> list[Case]:
        """Its cases, the oldest first."""
        return [c for c in node.cases() if node.folder_of(c).record().series_instance_uid == self.uid]

    def case(self, node: RunningNode, count: int = 1) -> Case:
        """Its newest case, once it has that many."""
        assert eventually(lambda: len(self.cases(node)) >= count, 60.0), node.log()
        return self.cases(node)[-1]

    def results(self, pacs: StorageFolder) -> list[Dataset]:
        """What came back into its study; no two tests share one."""
        return [header for path in pacs.instances() if (header := dcmread(path)).StudyInstanceUID == self.study]


def send(node: RunningNode, *paths: Path, abort: bool = False) -> None:
    sent = storescu(node.address, paths, "-aet", "TPS", *(["--abort"] if abort else []))
    assert sent.returncode == 0, sent.stderr


def finished(node: RunningNode, series: Series, count: int = 1) -> Case:
    series.case(node, count)
    assert eventually(lambda: all(case.is_finished for case in series.cases(node)), CASE_LIMIT_S), node.log()
    return series.cases(node)[-1]


def test_of_a_whole_study_nothing_but_the_planning_ct_is_processed(
    tmp_path: Path, node: RunningNode, thorax_instances: list[Dataset]
) -> None:
    few = thorax_instances[20:23]
    planning = Series(10, thorax_instances, tmp_path)
    others = {
        Series(11, few[:1], tmp_path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]): "IGNORED",
        Series(12, few, tmp_path, SeriesDescription="4D MIP"): "IGNORED",
        Series(13, few, tmp_path, SeriesDescription="4D 50% Ex"): "IGNORED",
        Series(14, few, tmp_path, SOPClassUID=MRImageStorage, Modality="MR"): "UNMATCHED",
        Series(15, few, tmp_path, PatientID="CATPHAN_604"): "HELD",
    }
    send(node, *planning.paths, *(path for series in others for path in series.paths))
    case = planning.case(node)
    assert "taken by rule ct" in node.perfnode("show", case.case_id).stdout
    node.perfnode("cancel", case.case_id)
    assert eventually(lambda: [(s.state(node) or ("",))[0] for s in others] == list(others.values()), 60.0)
    assert [s.cases(node) for s in others] == [[]] * len(others)
    shown = node.perfnode("jobs").stdout
    for words in ("RULE_HOLDS", "NO_RULE", "The rule localizer ignores it"):
        assert words in shown
    for patient in ("CANARY-ID", "Real^Person", "CATPHAN", "2.25.88"):
        assert patient not in shown + node.log()


def test_a_hole_waits_for_its_slice_across_a_kill_and_a_person_may_have_it_handed_over(
    tmp_path: Path, node: RunningNode, pacs: StorageFolder, thorax_instances: list[Dataset]
) -> None:
    filled, released = Series(20, thorax_instances, tmp_path), Series(21, thorax_instances, tmp_path)
    send(node, *filled.without(20), *released.without(30))
    assert filled.waits(node, HOLE), node.log()
    assert released.waits(node, HOLE)
    before = filled.arrival(node)
    node.kill()
    assert node.perfnode("release", released.key).returncode == 0  # obeyed by the next node
    node.start()
    case = finished(node, released)
    assert (case.state, case.code) == (CaseState.REJECTED, "MISSING_SLICES")
    assert "in spite of SLICES_MISSING" in node.perfnode("show", case.case_id).stdout
    assert eventually(lambda: any("MISSING_SLICES" in h.get("ImageComments", "") for h in released.results(pacs)), 60.0)
    assert filled.arrival(node) == before
    send(node, filled.paths[20])
    case = filled.case(node)
    assert node.folder_of(case).record().instances == len(filled.paths)
    node.perfnode("cancel", case.case_id)


def test_an_aborted_transfer_is_discarded_or_released_by_a_person_only(
    tmp_path: Path, node: RunningNode, thorax_instances: list[Dataset]
) -> None:
    kept, thrown = Series(30, thorax_instances, tmp_path), Series(31, thorax_instances[:20], tmp_path)
    send(node, *kept.paths, *thrown.paths, abort=True)
    assert kept.waits(node, CUT_OFF), node.log()
    assert node.perfnode("discard", thrown.key).returncode == 0
    assert thrown.state(node) == ("DISCARDED", "DISCARDED")
    refused = node.perfnode("release", "nothing")
    assert (refused.returncode, "UNKNOWN_SERIES" in refused.stderr) == (2, True)
    assert kept.cases(node) == []
    assert node.perfnode("release", kept.key).returncode == 0
    case = kept.case(node)
    assert node.folder_of(case).record().released == "INTERRUPTED"
    node.perfnode("cancel", case.case_id)
    assert thrown.state(node) == ("DISCARDED", "DISCARDED")


def test_an_archive_that_has_more_holds_the_series_until_all_is_here(
    tmp_path: Path, node: RunningNode, archive: Orthanc, thorax_instances: list[Dataset]
) -> None:
    series = Series(40, thorax_instances, tmp_path)
    assert storescu(archive.address, series.paths).returncode == 0
    send(node, *series.paths[:-1])  # what is missing at an end leaves no hole
    assert series.waits(node, ("HELD", "COUNT_DIFFERS")), node.log()
    arrival = series.arrival(node)
    assert arrival is not None
    assert (
        arrival["sentence"]
        == f"The archive has {len(series.paths)} images of the series, {len(series.paths) - 1} are here."
    )
    send(node, series.paths[-1])
    case = series.case(node)
    assert node.folder_of(case).record().instances == len(series.paths)
    node.perfnode("cancel", case.case_id)


def test_a_slice_that_comes_late_at_any_stage_is_in_the_result_that_supersedes_the_first(
    tmp_path: Path, node: RunningNode, pacs: StorageFolder, thorax_instances: list[Dataset]
) -> None:
    stages = (Stage.READ, Stage.SEGMENT, Stage.PERFUSE, Stage.CHECK)
    series = Series(50, thorax_instances, tmp_path)
    size = len(series.paths) - len(stages)
    send(node, *series.paths[:size])
    first = series.case(node)

    def is_at(stage: Stage) -> bool:
        return any(
            (e["event"], e.get("case"), e.get("stage")) == ("stage_started", first.case_id, stage.value)
            for e in node.events()
        )

    for number, stage in enumerate(stages, start=1):
        assert eventually(lambda stage=stage: is_at(stage), CASE_LIMIT_S), node.log()
        send(node, series.paths[size + number - 1])
        late = series.case(node, number + 1)
        assert node.folder_of(late).record().instances == size + number
        if number < len(stages):  # results in between would only take time
            node.perfnode("cancel", late.case_id)
    last = finished(node, series, len(stages) + 1)
    assert last.state is CaseState.DELIVERED, node.log()
    assert next(c for c in series.cases(node) if c.case_id == first.case_id).state is CaseState.DELIVERED
    old, new = sorted(series.results(pacs), key=lambda header: "PredecessorStructureSetSequence" in header)
    assert new.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert f"{series.uid}.{len(series.paths)}" in new.to_json()


def test_rules_are_tried_on_files_without_a_node(tmp_path: Path, thorax_instances: list[Dataset]) -> None:
    few, files = thorax_instances[20:25], tmp_path / "files"
    hole = Series(60, few, files)
    hole.paths[2].unlink()
    Series(61, few, files, SeriesDescription="MIP 10 mm")
    done = perfnode("rules", "test", str(files), "--json")
    assert done.returncode == 0, done.stderr
    ct, mip = json.loads(done.stdout)
    assert (ct["outcome"], ct["rule"], ct["held"]["code"]) == ("process", "ct", "SLICES_MISSING")
    assert (mip["outcome"], mip["rule"]) == ("ignore", "projection")
    assert [asked["name"] for asked in mip["asked"]] == ["digital-thorax", "phantom", "localizer", "projection"]
    assert "CANARY-ID" not in done.stdout
    assert "phase is none, wanted one of mip, minip" in perfnode("rules", "test", str(files)).stdout


def test_rules_of_a_site_are_tried_as_if_somebody_had_sent_the_files(
    tmp_path: Path, thorax_instances: list[Dataset]
) -> None:
    series, site = Series(70, thorax_instances[20:21], tmp_path), tmp_path / "site.toml"
    site.write_text('[[rules]]\nname = "ours"\naction = "hold"\ncalling_ae_title = ["CT1"]\n')
    for calling, outcome in (("CT1", "hold"), ("CT2", "unmatched")):
        options = ("--json", "--calling", calling, "--config", str(site))
        (trial,) = json.loads(perfnode("rules", "test", str(series.paths[0]), *options).stdout)
        assert trial["outcome"] == outcome
    assert perfnode("rules", "test", str(site)).returncode == 1  # no DICOM file
    site.write_text(perfnode("rules", "list", "--toml").stdout)
    listed = [perfnode("rules", "list", "--json", *options).stdout for options in ((), ("--config", str(site)))]
    assert listed[0] == listed[1]
    assert "localizer" in listed[0]
