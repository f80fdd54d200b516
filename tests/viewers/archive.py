"""Orthanc with its DICOMweb plugin, as Debian packages both: the archive behind a web viewer."""

import json
import os
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.peers import _running, eventually, free_port, listens, program

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@contextmanager
def dicomweb_archive(folder: Path, datasets: Iterable[Dataset]) -> Iterator[str]:
    """An archive that holds the datasets; yields its HTTP address, DICOMweb is at `/dicom-web`."""
    if not _PLUGIN.exists():
        complaint = "orthanc-dicomweb is not installed"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    port = free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomServerEnabled": False,
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(_PLUGIN)],
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(settings))
    with _running([program("Orthanc"), str(configuration)], folder / "orthanc.log") as alive:
        assert eventually(lambda: alive() and listens(port), 30.0), (folder / "orthanc.log").read_text()[-2000:]
        for dataset in datasets:
            _store(port, dataset)
        yield f"http://127.0.0.1:{port}"


def _store(port: int, dataset: Dataset) -> None:
    encoded = BytesIO()
    dataset.save_as(encoded, enforce_file_format=True)
    url = f"http://127.0.0.1:{port}/instances"
    with urllib.request.urlopen(url, encoded.getvalue(), timeout=30) as answer:
        assert json.load(answer)["Status"] == "Success"
