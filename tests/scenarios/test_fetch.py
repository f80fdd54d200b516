"""`perfnode fetch` beside a running node, from a real archive, in all three ways."""

import json
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from dicom_node.errors import NodeBusy, PeerUnreachable
from dicom_node.fetch import Fate, Fetcher, Wanted
from dicom_node.fetch_into_node import NodeLanding
from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import read_settings
from tests.peers import Orthanc, free_port, orthanc
from tests.running_node import perfnode, running_node
from tests.small_ct import SERIES, small_ct, write_file

pytestmark = pytest.mark.slow  # `make test-long`

STUDY = "1.2.826.0.1.3680043.8.498"
CANARY = "CANARY-77"


def dated(folder: Path, days: dict[str, int], modality: str = "CT") -> list[Path]:
    """A study of one series for each day, with that many images."""
    folder.mkdir(exist_ok=True)
    files = []
    for day, images in days.items():
        for number in range(1, images + 1):
            dataset = small_ct(number, series=f"{SERIES}.{day}")
            dataset.StudyInstanceUID = f"{STUDY}.{day}"
            dataset.StudyDate, dataset.PatientID, dataset.Modality = day, f"{CANARY}-{day}", modality
            dataset.AccessionNumber, dataset.SeriesDescription = f"A{day}", "Lung\x1b[2J CT"
            files.append(write_file(folder, dataset))
    return files


def site(folder: Path, archive: Orthanc, port: int) -> Path:
    """A site whose three peers are one archive."""
    folder.mkdir(exist_ok=True)
    dimse = f'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {archive.address.port}\nretrieve_timeout_s = 20\n'
    text = (
        f'[node]\nport = {port}\ndata_dir = "data"\nminimum_free_mb = 100\n[log]\nformat = "json"\n'
        f'[[peers]]\nname = "get"\n{dimse}[[peers]]\nname = "move"\nretrieve = "c-move"\n{dimse}'
        f'[[peers]]\nname = "web"\nretrieve = "dicomweb"\ndicomweb_url = "{archive.dicomweb_url}/"\n'
    )
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


def rows(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.peers
def test_series_come_into_the_running_node_by_c_get_c_move_and_the_web(
    tmp_path: Path, thorax_instances: list[Dataset], thorax_files: list[Path]
) -> None:
    thorax = thorax_instances[0]
    with running_node(tmp_path / "node", []) as node:
        us = AeAddress("PERFNODE", "127.0.0.1", node.address.port)
        with orthanc(tmp_path / "archive", modalities={"us": us}, dicomweb=True) as archive:
            files = dated(tmp_path / "ct", {"20240305": 2, "20240306": 3})
            send([*files, *thorax_files], Destination("archive", archive.address))
            config = str(site(tmp_path / "node", archive, us.port))

            def fetch(peer: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
                return perfnode("fetch", peer, *arguments, "--json", "--config", config)

            assert fetch("get", "--study", str(thorax.StudyInstanceUID)).returncode == 0
            moved = fetch("move", "--patient", f"{CANARY}-20240305")
            assert (moved.returncode, [row["fate"] for row in rows(moved)]) == (0, ["fetched"]), moved
            web = fetch("web", "--accession", "A20240306")
            assert (web.returncode, [row["fate"] for row in rows(web)]) == (0, ["fetched"]), web
            again = fetch("get", "--from", "2024-03-05", "--to", "2024-03-06")
            assert [row["fate"] for row in rows(again)] == ["here", "here"], again
            cases = {node.folder_of(case).record().instances: case.state for case in node.finished_cases(3)}
            assert cases[len(thorax_files)] is CaseState.DELIVERED
            assert {cases[2], cases[3]} == {CaseState.REJECTED}  # too few slices for a lung, but all of them here
            assert [
                f.fate for f in _fetcher(Path(config)).run(Wanted(study_instance_uid=str(thorax.StudyInstanceUID)))
            ] == [Fate.HERE]
    everything_written = node.log() + moved.stderr + web.stderr + again.stderr
    assert CANARY not in everything_written
    assert STUDY not in everything_written
    assert CANARY not in moved.stdout


@pytest.fixture
def archive_site(tmp_path: Path) -> Any:
    days = {"20240301": 1, "20240302": 2, "20240304": 1}
    with orthanc(tmp_path / "archive", dicomweb=True) as archive:
        files = [*dated(tmp_path / "ct", days), *dated(tmp_path / "pet", {"20240303": 1}, "PT")]
        send(files, Destination("archive", archive.address))
        yield site(tmp_path / "node", archive, free_port())


MARCH = Wanted(first_day=date(2024, 3, 1), last_day=date(2024, 3, 4))


@pytest.mark.peers
def test_a_dry_run_lists_and_fetches_nothing(archive_site: Path) -> None:
    days = ("--from", "2024-03-01", "--to", "2024-03-04")
    dry = perfnode("fetch", "get", *days, "--dry-run", "--config", str(archive_site))
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count("would fetch  2024030") == 3
    assert "\x1b" not in dry.stdout
    assert CANARY not in dry.stdout
    assert list((archive_site.parent / "data" / "spool" / "incoming").glob("*/*.dcm")) == []


@pytest.mark.peers
def test_a_span_of_days_is_fetched_step_by_step_without_a_node(archive_site: Path) -> None:
    first = list(_fetcher(archive_site).run(MARCH, limit=2))
    assert [(f.study_date, f.fate) for f in first] == [("20240301", Fate.FETCHED), ("20240302", Fate.FETCHED)]
    rest = list(_fetcher(archive_site, "web").run(MARCH))
    assert [f.fate for f in rest] == [Fate.HERE, Fate.HERE, Fate.FETCHED]
    assert [len(series.instances) for series in _spool(archive_site).series()].count(1) == 2
    # nothing to move, so it does not matter that the node does not run
    assert [f.fate for f in _fetcher(archive_site, "move").run(MARCH)] == [Fate.HERE] * 3
    other = replace(MARCH, modalities=("PT",))
    assert [f.study_date for f in _fetcher(archive_site).run(other, dry_run=True)] == ["20240303"]


@pytest.mark.peers
def test_c_move_needs_the_running_node_and_says_so(archive_site: Path) -> None:
    (failed,) = _fetcher(archive_site, "move").run(Wanted(accession_number="A20240301"))
    assert (failed.fate, failed.code) == (Fate.FAILED, "PEER_UNREACHABLE")
    assert "does not run" in failed.message


@pytest.mark.peers
def test_a_series_with_more_images_than_are_here_is_fetched_again(archive_site: Path, tmp_path: Path) -> None:
    fetcher = _fetcher(archive_site)
    assert [f.fate for f in fetcher.run(Wanted(accession_number="A20240302"))] == [Fate.FETCHED]
    assert [f.fate for f in fetcher.run(Wanted(accession_number="A20240302"))] == [Fate.HERE]
    send(dated(tmp_path / "more", {"20240302": 3})[2:], Destination("archive", fetcher.peer.address))  # type: ignore[arg-type]
    assert [f.fate for f in fetcher.run(Wanted(accession_number="A20240302"))] == [Fate.FETCHED]
    (series,) = _spool(archive_site).series()
    assert len(series.instances) == 3


@pytest.mark.peers
def test_a_busy_node_or_a_full_disk_is_waited_for_and_then_left_in_peace(
    archive_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.fetch_into_node._free_mb", lambda folder: 110.0)
    fetcher = _fetcher(archive_site, patience_s=0.1)
    with pytest.raises(NodeBusy, match="110 MB"):
        list(fetcher.run(Wanted(accession_number="A20240301")))
    assert _spool(archive_site).series() == []


@pytest.mark.peers
def test_an_archive_that_goes_away_ends_the_run(archive_site: Path) -> None:
    text = archive_site.read_text()
    archive_site.write_text(text.replace(f"port = {_archive_port(text)}", f"port = {free_port()}"))
    with pytest.raises(PeerUnreachable):
        list(_fetcher(archive_site).run(Wanted(accession_number="A20240301")))


def _archive_port(text: str) -> int:
    return int(text.partition('"ORTHANC"')[2].partition("port = ")[2].split()[0])


def _fetcher(site_file: Path, peer: str = "get", **options: Any) -> Fetcher:
    settings = read_settings(site_file)
    archive, audit = settings.peer(peer), settings.audit_trail()
    return Fetcher(archive, NodeLanding(settings, archive, audit, **options), audit)


def _spool(site_file: Path) -> Spool:
    return Spool(site_file.parent / "data" / "spool", minimum_free_mb=1)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"series_instance_uid": "1.2.3"},
        {"last_day": date(2024, 3, 1)},
        {"first_day": date(2024, 3, 2), "last_day": date(2024, 3, 1)},
    ],
)
def test_what_is_wanted_must_be_clear(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"say which|needs its study|belong together|before the first"):
        Wanted(**keys)


def test_a_wildcard_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[[peers]]\nname = "a"\nae_title = "A"\nhost = "127.0.0.1"\nport = 1\n')
    done = perfnode("fetch", "a", "--patient", f"{CANARY}*", "--config", str(tmp_path / "site.toml"))
    assert done.returncode == 2
    assert CANARY not in done.stderr
