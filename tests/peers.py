"""Real and scripted peers on loopback: dcmtk and Orthanc as installed, and a PACS that misbehaves on demand.

Programs are looked for outside the virtual environment, whose `storescu` is another one. A missing program skips the
test; where the variable CI is set it fails, so that a pipeline cannot lose its peers quietly.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node.network.addresses import AeAddress
from dicom_node.network.bounded_server import BoundedServer
from dicom_node.network.bounded_sockets import BoundedAssociationSocket, SocketLimits

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
    """A TCP port that is free on every address.

    Below the range from which outgoing connections get theirs: those of a torture run may hold any port of that range,
    on any address of loopback, and a peer that binds all addresses would find it taken.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port


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
def storescp(folder: Path, *options: str) -> Iterator[AeAddress]:
    """dcmtk's storescp, writing what it gets into `folder`."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [program("storescp"), "--accept-all", "-od", str(folder), *options, str(port)]
    with _running(command, folder.with_suffix(".log")) as alive:
        assert eventually(lambda: alive() and listens(port)), "storescp did not start"
        yield AeAddress("STORESCP", "127.0.0.1", port)


class Orthanc:
    """A running Orthanc."""

    def __init__(self, address: AeAddress, http_port: int) -> None:
        self.address = address
        self._http_port = http_port

    @property
    def dicomweb_url(self) -> str:
        """Where its DICOMweb plugin answers, if it runs."""
        return f"http://127.0.0.1:{self._http_port}/dicom-web"

    def get(self, path: str) -> Any:
        """JSON answer of the REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        """JSON answer to a POST of JSON."""
        return self._change("POST", path, json.dumps(body).encode())

    def delete(self, path: str) -> Any:
        """Remove a resource; the JSON answer."""
        return self._change("DELETE", path, None)

    def _change(self, method: str, path: str, body: bytes | None) -> Any:
        url = f"http://127.0.0.1:{self._http_port}{path}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # http, as the line above says
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
def orthanc(
    folder: Path,
    *,
    modalities: dict[str, AeAddress] | None = None,
    options: dict[str, Any] | None = None,
    dicomweb: bool = False,
) -> Iterator[Orthanc]:
    """Orthanc with its storage in `folder`; `modalities` are peers it may send to, by name.

    It answers queries and retrievals of everybody. `options` are further settings of its own; with `dicomweb` the
    plugin runs at `Orthanc.dicomweb_url`.
    """
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
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "Plugins": [str(dicomweb_plugin())] if dicomweb else [],
        "DicomModalities": {n: [a.ae_title, a.host, a.port] for n, a in (modalities or {}).items()},
        **(options or {}),
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(settings))
    peer = Orthanc(AeAddress("ORTHANC", "127.0.0.1", dicom_port), http_port)
    with _running([program("Orthanc"), str(configuration)], folder / "orthanc.log") as alive:
        assert eventually(lambda: alive() and peer.is_up(), 30.0), (folder / "orthanc.log").read_text()[-2000:]
        yield peer


def dicomweb_plugin() -> Path:
    """Orthanc's DICOMweb plugin."""
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if not plugin.exists():
        complaint = "orthanc-dicomweb is not installed"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return plugin


@contextmanager
def dcmqrscp(folder: Path, *, movers: dict[str, AeAddress] | None = None) -> Iterator[AeAddress]:
    """dcmtk's archive; `movers` are those that it may send to by C-MOVE."""
    (folder / "storage").mkdir(parents=True, exist_ok=True)
    port = free_port()
    hosts = [f"m{k} = ({a.ae_title}, {a.host}, {a.port})" for k, a in enumerate((movers or {}).values())]
    table = ["HostTable BEGIN", *hosts, "HostTable END", "VendorTable BEGIN", "VendorTable END", "AETable BEGIN"]
    table += [f"DCMQRSCP {folder / 'storage'} RW (200, 1024mb) ANY", "AETable END"]
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text("\n".join([f"NetworkTCPPort = {port}", "MaxAssociations = 16", *table]) + "\n")
    command = [program("dcmqrscp"), "--config", str(configuration), "--allow-shutdown", str(port)]
    with _running(command, folder / "dcmqrscp.log") as alive:
        assert eventually(lambda: alive() and listens(port)), (folder / "dcmqrscp.log").read_text()[-2000:]
        yield AeAddress("DCMQRSCP", "127.0.0.1", port)


@contextmanager
def scripted_archive(
    contexts: Sequence[tuple[str, Sequence[str]]],
    handlers: Sequence[tuple[Any, Callable[[Any], Any]]],
    *,
    reads_while_answering: bool = False,
    port: int = 0,
) -> Iterator[AeAddress]:
    """A pynetdicom SCP that answers as told, on a free port unless one is given; peers may take either role.

    `reads_while_answering`: with pynetdicom's own server, which sees a C-CANCEL while a handler runs.
    """
    entity = AE("ARCHIVE")
    for abstract_syntax, syntaxes in contexts:
        entity.add_supported_context(abstract_syntax, list(syntaxes), scu_role=True, scp_role=True)
    if reads_while_answering:
        plain = entity.make_server(("127.0.0.1", port), evt_handlers=list(handlers))
        entity._servers.append(plain)  # where `shutdown` expects to find it
        threading.Thread(target=plain.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield AeAddress("ARCHIVE", "127.0.0.1", plain.server_address[1])
        finally:
            plain.shutdown()
        return
    server = entity.make_server(
        ("127.0.0.1", port),
        evt_handlers=list(handlers),
        server_class=BoundedServer,  # for its sockets, which are closed for certain
        limits=SocketLimits(),
        maximum_connections=16,
    )
    server.start()
    try:
        yield AeAddress("ARCHIVE", "127.0.0.1", server.server_address[1])
    finally:
        server.stop(grace_s=2.0)


@contextmanager
def scripted_pacs(
    on_store: Callable[[Any], Any], sop_classes: Sequence[str], syntaxes: Sequence[str], handlers: Sequence[Any] = ()
) -> Iterator[Any]:
    """A pynetdicom SCP that answers each C-STORE as told; yields its address."""
    entity = AE("PACS")
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    server = entity.make_server(
        ("127.0.0.1", 0),
        evt_handlers=[(evt.EVT_C_STORE, on_store), *handlers],
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


def rejection(address: AeAddress, calling_ae_title: str = "SCANNER") -> tuple[int, int, int]:
    """Result, source and reason with which the peer rejects an association; it must never accept one.

    pynetdicom takes a rejection that comes at once for a failed connection, so it is asked again then.
    """
    for _ in range(20):
        association = associate(address, calling_ae_title=calling_ae_title)
        assert not association.is_established
        if association.is_rejected:
            answer = association.acceptor.primitive
            return answer.result, answer.result_source, answer.diagnostic
    raise AssertionError("the connection was closed without a rejection")


def store_bytes(association: Any, sop_class_uid: str, sop_instance_uid: str, encoded: bytes) -> int | None:
    """Send a C-STORE whose dataset need not be one; the status, or None if there is no answer."""
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = sop_class_uid
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.DataSet = BytesIO(encoded)
    answers: SimpleQueue[Any] = SimpleQueue()
    # The association's own thread may take the answer off its queue before anybody else, however it is paused.
    association._serve_request = lambda message, _context: answers.put(message)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    eventually(lambda: not answers.empty() or not association.is_alive(), 60.0)
    return None if answers.empty() else int(answers.get().Status)


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
