"""Pairs from a real archive: `perfnode fetch --into` in all three ways, and `perfnode pairs fetch` of a list."""

import json
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import NodeBusy
from dicom_node.fetch import FOLDER_MODALITIES, Fate, Fetcher, Wanted
from dicom_node.fetch_into_folder import into_folder
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from dicom_node.settings.config import read_settings
from inference.phantom.thorax import DigitalThorax
from tests.peers import Orthanc, associate, eventually, free_port, listens, orthanc, store_bytes
from tests.running_node import perfnode
from tests.small_ct import dataset_bytes, small_ct, write_file
from tests.training.pairs.hospital_files import ct_files, nuclear, pet, registration, save, turned
from tests.training.pairs.moved_spect import spect_of
from training.pairs.rigid import Rigid
from training.store.study_store import StudyStore

MOVEMENT = turned((4, -3, 6), (25, -18, 30))
SPECT, PET, CT_ONLY, ABSENT = (f"ZZCANARY-{word}" for word in ("SPECT", "PET", "CTONLY", "ABSENT"))

pytestmark = [pytest.mark.peers, pytest.mark.slow]  # `make test-long`


def renamed(folder: Path, patient_id: str, study: str) -> list[Path]:
    """Give all files of a folder to one patient, with UIDs of its own where two patients would share one."""
    for path in sorted(folder.rglob("*.dcm")):
        dataset = dcmread(path)
        dataset.PatientID, dataset.PatientName, dataset.StudyInstanceUID = patient_id, f"{patient_id}^X", study
        for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
            dataset[keyword].value = f"{dataset[keyword].value}.{study.rpartition('.')[2]}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path)
    return sorted(folder.rglob("*.dcm"))


@pytest.fixture(scope="module")
def patients(thorax: DigitalThorax, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One with CT, SPECT and registration object, one with CT and PET of one frame of reference, one with a CT."""
    here, uid = tmp_path_factory.mktemp("hospital"), thorax.ct.grid.frame_of_reference_uid
    files = []
    ct_files(thorax.ct, here / "a" / "ct")
    values, grid = spect_of(thorax, MOVEMENT, frame_uid="2.25.77")
    save(nuclear(values, grid), here / "a" / "nm.dcm")
    save(registration("2.25.77", [(uid, MOVEMENT.inverse)]), here / "a" / "reg.dcm")
    files += renamed(here / "a", SPECT, "2.25.71.1")
    ct_files(replace(thorax.ct, hu=thorax.ct.hu + np.int16(1)), here / "b" / "ct")  # not the images of another
    values, grid = spect_of(thorax, Rigid.identity(), frame_uid=uid)
    for k, each in enumerate(pet(values, grid)):
        save(each, here / "b" / f"pt{k:03d}.dcm")
    files += renamed(here / "b", PET, "2.25.71.2")
    write_file(here, small_ct(side=32)).rename(here / "c.dcm")
    (here / "c").mkdir()
    (here / "c.dcm").rename(here / "c" / "ct.dcm")
    files += renamed(here / "c", CT_ONLY, "2.25.71.3")
    return files


@pytest.fixture(scope="module")
def archive(patients: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Path]]:
    """Orthanc with the patients, and the site file of a node that does not run."""
    here, folder_port = tmp_path_factory.mktemp("site"), free_port()
    us = {"folder": AeAddress("PERFFOLDER", "127.0.0.1", folder_port)}
    with orthanc(here / "archive", modalities=us, dicomweb=True) as running:
        send(patients, Destination("archive", running.address))
        dimse = f'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {running.address.port}\nretrieve_timeout_s = 20\n'
        (here / "site.toml").write_text(
            f'[node]\nport = {free_port()}\ndata_dir = "data"\nminimum_free_mb = 100\n'
            f'[[peers]]\nname = "get"\n{dimse}'
            f'[[peers]]\nname = "move"\nretrieve = "c-move"\nfolder_ae_title = "PERFFOLDER"\n'
            f"folder_port = {folder_port}\n{dimse}"
            f'[[peers]]\nname = "plain-move"\nretrieve = "c-move"\n{dimse}'
            f'[[peers]]\nname = "web"\nretrieve = "dicomweb"\ndicomweb_url = "{running.dicomweb_url}/"\n'
            f'[[peers]]\nname = "gone"\nae_title = "GONE"\nhost = "127.0.0.1"\nport = {free_port()}\n'
        )
        yield running, here / "site.toml"


def command(site: Path, peer: str, folder: Path, patient: str = SPECT) -> "subprocess.CompletedProcess[str]":
    """`perfnode fetch --into`."""
    words = [sys.executable, "-m", "dicom_node", "fetch", peer, "--into", str(folder), "--patient-stdin", "--json"]
    words += ["--config", str(site)]
    return subprocess.run(words, input=patient + "\n", capture_output=True, text=True, check=False, timeout=120)


def fates(site: Path, peer: str, folder: Path) -> list[Fate]:
    """The same in this process, which is quicker."""
    settings = read_settings(site)
    archive, audit = settings.peer(peer), settings.audit_trail()
    wanted = Wanted(patient_id=SPECT, modalities=FOLDER_MODALITIES)
    with into_folder(settings, archive, folder, audit) as landing:
        return sorted(fetched.fate for fetched in Fetcher(archive, landing, audit).run(wanted))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("peer", ["get", "move", "web"])
def test_a_patient_comes_into_a_folder_as_the_archive_has_it(
    archive: tuple[Orthanc, Path], patients: list[Path], tmp_path: Path, peer: str
) -> None:
    _, site = archive
    folder = tmp_path / "in"
    assert fates(site, peer, folder) == [Fate.FETCHED] * 3
    mine = [path for path in patients if dcmread(path, specific_tags=["PatientID"]).PatientID == SPECT]
    assert sorted(map(dataset_bytes, files_of(folder))) == sorted(map(dataset_bytes, mine))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]  # nothing half is left beside it
    assert fates(site, peer, folder) == [Fate.HERE] * 3
    max(files_of(folder), key=lambda path: len(list(path.parent.iterdir()))).unlink()
    assert fates(site, peer, folder) == [Fate.FETCHED] + [Fate.HERE] * 2  # the series that is no longer whole
    assert len(files_of(folder)) == len(mine)
    assert not list((site.parent / "data" / "spool").rglob("*.dcm"))


def test_the_command_names_no_patient_and_keeps_others_out(archive: tuple[Orthanc, Path], tmp_path: Path) -> None:
    _, site = archive
    (tmp_path / ".in.part").mkdir()
    (tmp_path / ".in.part" / "half.dcm").mkdir()  # of one that was killed
    done = command(site, "get", tmp_path / "in")
    assert (done.returncode, done.stdout.count('"fetched"')) == (0, 3), done
    assert SPECT not in done.stdout + done.stderr
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in tmp_path.rglob("*")} == {0}
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    audit = (site.parent / "data" / "audit" / "audit.log").read_text()
    assert audit.count("fetch-into-folder") >= 3
    assert "ZZCANARY" not in audit
    nobody = command(site, "get", tmp_path / "in", patient="")
    assert (nobody.returncode, "no Patient ID" in nobody.stderr) == (2, True), nobody


def test_the_command_ends_with_the_program_that_called_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        text = f'[[peers]]\nname = "deaf"\nae_title = "D"\nhost = "127.0.0.1"\nport = {deaf.getsockname()[1]}\n'
        (tmp_path / "site.toml").write_text(text)
        words = ["fetch", "deaf", "--into", str(tmp_path / "in"), "--patient-stdin", "--with-parent"]
        words = [sys.executable, "-m", "dicom_node", *words, "--config", str(tmp_path / "site.toml")]
        with subprocess.Popen(words, stdin=subprocess.PIPE, cwd=tmp_path) as process:
            assert process.stdin is not None
            process.stdin.write(b"4711\n")
            process.stdin.flush()
            deaf.settimeout(60)
            call, _ = deaf.accept()  # and no answer, as from an archive that hangs
            assert process.poll() is None
            process.stdin.close()
            assert process.wait(20) == 1
            call.close()


def test_a_folder_is_not_the_nodes_and_needs_a_port_of_its_own(archive: tuple[Orthanc, Path], tmp_path: Path) -> None:
    _, site = archive
    with pytest.raises(ValueError, match="node's own"):
        fates(site, "get", site.parent / "data" / "spool" / "incoming" / "x")
    with pytest.raises(ValueError, match="folder_port"):
        fates(site, "plain-move", tmp_path / "in")


def test_while_it_listens_nobody_else_can_leave_anything(archive: tuple[Orthanc, Path], tmp_path: Path) -> None:
    settings = read_settings(archive[1])
    peer = settings.peer("move")
    stranger = small_ct(side=32)
    encoded = dataset_bytes(write_file(tmp_path, stranger))
    with into_folder(settings, peer, tmp_path / "in", settings.audit_trail()) as landing:
        address = AeAddress("PERFFOLDER", "127.0.0.1", peer.folder_port)  # type: ignore[union-attr]
        assert eventually(lambda: listens(address.port))
        association = associate(address)
        sent = store_bytes(association, stranger.SOPClassUID, stranger.SOPInstanceUID, encoded)
        association.release()
        assert sent == 0xA900
        assert landing.spool.series() == []
        with pytest.raises(NodeBusy):
            fates(archive[1], "get", tmp_path / "in")
    assert not listens(address.port)


def pairs_fetch(site: Path, peer: str, listed: Path, store: Path, *words: str) -> Any:
    return perfnode(
        *("pairs", "fetch", peer, "--patients", str(listed), "--store", str(store), "--by", "A. Admin"),
        *("--config", str(site), "--json", *words),
    )


def rows(done: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def seen_command_lines(stop: threading.Event, found: set[str]) -> None:
    """All that other users see of processes, for as long as it lasts."""
    while not stop.is_set():
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        stop.wait(0.02)


def test_a_list_of_patients_becomes_pairs_and_each_is_told(archive: tuple[Orthanc, Path], tmp_path: Path) -> None:
    _, site = archive
    listed, store = tmp_path / "patients.txt", tmp_path / "store"
    listed.write_text(f"# of March\n{SPECT}\n{CT_ONLY}\n\n{ABSENT}\n  {PET}  \n")
    stop, seen = threading.Event(), set[str]()
    watcher = threading.Thread(target=seen_command_lines, args=(stop, seen))
    watcher.start()
    done = pairs_fetch(site, "get", listed, store)
    stop.set()
    watcher.join()
    assert done.returncode == 1, done
    told = rows(done)
    assert [(row["line"], row["outcome"], len(row["pairs"])) for row in told] == [
        (2, "IN", 1),
        (3, "NO_PAIR", 0),
        (5, "NOT_FOUND", 0),
        (6, "IN", 1),
    ], done
    assert [detail["code"] for detail in told[1]["details"]] == ["NO_PERFUSION"]
    opened = StudyStore.open(store)
    links = {pair.name: pair.link for pair in opened.pairs()}
    assert links[told[0]["pairs"][0]].kind == "registration-object"
    assert links[told[0]["pairs"][0]].matrix == pytest.approx(MOVEMENT.matrix, abs=1e-6)
    assert links[told[3]["pairs"][0]].kind == "frame-of-reference"
    assert opened.verify() == ()

    assert any("--patient-stdin" in line for line in seen)
    assert "ZZCANARY" not in "".join(seen) + done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "store" not in path.name) == ["patients.txt"]
    kept = [path for path in [*store.rglob("*"), *(site.parent / "data").rglob("*")] if path.is_file()]
    everything = b"".join(path.read_bytes() for path in kept)
    assert b"ZZCANARY" not in everything

    listed.write_text(f"{PET}\n{SPECT}\n")
    again = pairs_fetch(site, "gone", listed, store)  # nobody is asked
    assert (again.returncode, [row["outcome"] for row in rows(again)]) == (0, ["ALREADY_IN"] * 2), again
