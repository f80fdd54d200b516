"""Real and scripted peers on loopback: dcmtk and Orthanc as installed, and a PACS that misbehaves on demand.

Programs are looked for outside the virtual environment, whose `storescu` is another one. A missing program skips the
test; where the variable CI is set it fails, so that a pipeline cannot lose its peers quietly.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node.network.addresses import AeAddress
from dicom_node.network.bounded_sockets import BoundedAssociationSocket, BoundedServer, SocketLimits

# Debian's dcmtk and Orthanc leave Nagle's algorithm on, which costs 40 ms per object on loopback.
PEER_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def program(name: str) -> str:
    """Full path of an installed program."""
    own = Path(sys.executable).parent
    folders = [f for f in os.environ.get("PATH", "").split(os.pathsep) if f and Path(f).resolve() != own.resolve()]
    found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/bin", "/usr/sbin"]))
    if found is None:
        complaint = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return found


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Whether `condition` becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def storescu(address: AeAddress, paths: Sequence[Path], *options: str) -> subprocess.CompletedProcess[str]:
    """Send files with dcmtk's storescu."""
    host, port = address.endpoint
    command = [program("storescu"), "-aec", address.ae_title, *options, host, str(port), *map(str, paths)]
    return subprocess.run(command, env=PEER_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def storescp(folder: Path) -> Iterator[AeAddress]:
    """dcmtk's storescp, writing what it gets into `folder`."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [program("storescp"), "--accept-all", "-od", str(folder), str(port)]
    with _running(command, folder.with_suffix(".log")) as alive:
        assert eventually(lambda: alive() and listens(port)), "storescp did not start"
        yield AeAddress("STORESCP", "127.0.0.1", port)


class Orthanc:
    """A running Orthanc."""

    def __init__(self, address: AeAddress, http_port: int) -> None:
        self.address = address
        self._http_port = http_port

    def get(self, path: str) -> Any:
        """JSON answer of the REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def file(self, instance: str) -> bytes:
        """A stored instance as the file Orthanc keeps."""
        url = f"http://127.0.0.1:{self._http_port}/instances/{instance}/file"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.get("/system"))
        except OSError:
            return False


@contextmanager
def orthanc(folder: Path, *, modalities: dict[str, AeAddress] | None = None) -> Iterator[Orthanc]:
    """Orthanc with its storage in `folder`; `modalities` are peers it may send to, by name."""
    folder.mkdir(exist_ok=True)
    dicom_port, http_port = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "DicomAet": "ORTHANC",
        "DicomPort": dicom_port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "StableAge": 1,
        "Plugins": [],
        "DicomModalities": {n: [a.ae_title, a.host, a.port] for n, a in (modalities or {}).items()},
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(settings))
    peer = Orthanc(AeAddress("ORTHANC", "127.0.0.1", dicom_port), http_port)
    with _running([program("Orthanc"), str(configuration)], folder / "orthanc.log") as alive:
        assert eventually(lambda: alive() and peer.is_up(), 30.0), (folder / "orthanc.log").read_text()[-2000:]
        yield peer


@contextmanager
def scripted_pacs(on_store: Callable[[Any], int], sop_classes: Sequence[str], syntaxes: Sequence[str]) -> Iterator[Any]:
    """A pynetdicom SCP that answers each C-STORE as told; yields its address."""
    entity = AE("PACS")
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    server = entity.make_server(
        ("127.0.0.1", 0),
        evt_handlers=[(evt.EVT_C_STORE, on_store)],
        server_class=BoundedServer,  # for its sockets, which are closed for certain
        limits=SocketLimits(),
        maximum_connections=16,
    )
    server.start()
    try:
        yield AeAddress("PACS", "127.0.0.1", server.server_address[1])
    finally:
        server.stop(grace_s=5.0)


def associate(
    address: AeAddress,
    sop_class: str = CTImageStorage,
    syntax: str = ExplicitVRLittleEndian,
    calling_ae_title: str = "SCANNER",
) -> Association:
    """A pynetdicom association for tests that need to misuse it."""
    entity = AE(calling_ae_title)
    entity.acse_timeout = entity.dimse_timeout = 5

    def bind(event: Any) -> None:
        if isinstance(event.primitive, A_ASSOCIATE):
            BoundedAssociationSocket.bind_limits(event.assoc.dul.socket, SocketLimits())

    return entity.associate(
        *address.endpoint,
        [build_context(sop_class, syntax)],
        ae_title=address.ae_title,
        evt_handlers=[(evt.EVT_ACSE_SENT, bind)],
    )


def store_bytes(association: Any, sop_class_uid: str, sop_instance_uid: str, encoded: bytes) -> int | None:
    """Send a C-STORE whose dataset need not be one; the status, or None if there is no answer."""
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = sop_class_uid
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.DataSet = BytesIO(encoded)
    association._reactor_checkpoint.clear()
    assert eventually(lambda: association._is_paused)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return None if response is None else int(response.Status)


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[Callable[[], bool]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=PEER_ENVIRONMENT)
    try:
        yield lambda: process.poll() is None
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Whether something accepts connections at the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
