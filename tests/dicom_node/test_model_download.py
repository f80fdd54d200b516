"""Fetching weights from a real server: the right file gets in, and of every other ending nothing stays."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dicom_node.errors import DownloadFailed
from dicom_node.model_download import fetch, shown
from inference.errors import InferenceError, ModelStoreUnwritable, UnusableWeights, WeightsDigestMismatch
from inference.weights.model_store import ModelStore
from tests.certificates import certificates
from tests.peers import free_port
from tests.stand_in_weights import known_as, lungmask_file

NAME = "lungmask-r231"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    content: bytes
    elsewhere = ""
    stopping: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        content, kind = self.server.content, self.path.split("?", 1)[0].strip("/")
        if kind == "absent":
            self.send_error(404)
            return
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        if kind == "endless":
            self.end_headers()
            while not self.server.stopping.is_set():
                self.wfile.write(content)
            return
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        sent = {"truncated": len(content) // 2, "silent": len(content) // 2, "mute": 0}.get(kind, len(content))
        self.wfile.write(content[:-1] + b"!" if kind == "changed" else content[:sent])
        self.wfile.flush()
        if kind in ("silent", "mute"):
            self.server.stopping.wait(6)  # longer than the patience of the test
        self.close_connection = True


@contextmanager
def served(content: bytes, *, tls: bool = False, elsewhere: str = "") -> Iterator[str]:
    """A server whose paths say how it answers; gives its address."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.content, server.elsewhere, server.stopping = content, elsewhere, threading.Event()
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # clients hang up here
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates().server.certificate, certificates().server.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def published_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lungmask_file(tmp_path_factory.mktemp("published"), 3)


@pytest.fixture
def store(tmp_path: Path, published_file: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return ModelStore(tmp_path / "models", known_as(published_file, NAME))


def fetched(store: ModelStore, url: str, silence_s: float = 10.0, told: list[tuple[int, int | None]] | None = None):
    weights = store._known[NAME]
    told = [] if told is None else told
    return fetch(
        store, weights, url, silence_s=silence_s, progress=lambda here, expected: told.append((here, expected))
    )


def nothing_in(store: ModelStore) -> bool:
    return store.find(NAME) is None and [p for p in store.folder.rglob("*") if p.is_file() and p.name != ".lock"] == []


def test_the_published_file_is_fetched_checked_and_stored(store: ModelStore, published_file: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with served(published_file.read_bytes()) as address:
        stored = fetched(store, f"{address}/right", told=told)
    size = published_file.stat().st_size
    assert stored == store.find(NAME)
    assert stored.path.read_bytes() == published_file.read_bytes()
    assert stored.imported_from == f"{address}/right"
    assert told[-1] == (size, size)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("absent", "the server answered with status 404"),
        ("truncated", "the connection broke off before the end"),
        ("silent", "the server said nothing for 0.5 s"),
        ("mute", "the server said nothing for 0.5 s"),
    ],
)
def test_a_download_that_fails_says_how_to_go_on_by_hand(
    store: ModelStore, published_file: Path, how: str, reason: str
) -> None:
    with served(published_file.read_bytes()) as address, pytest.raises(DownloadFailed) as caught:
        fetched(store, f"{address}/{how}", silence_s=0.5)
    assert caught.value.reason == reason
    assert "Fetch unet_r231-d5d2fc3d.pth on a machine with internet" in str(caught.value)
    assert "perfnode models import lungmask-r231 unet_r231-d5d2fc3d.pth" in str(caught.value)
    assert nothing_in(store)


def test_another_file_is_refused(store: ModelStore, published_file: Path, tmp_path: Path) -> None:
    with served(published_file.read_bytes()) as address, pytest.raises(WeightsDigestMismatch):
        fetched(store, f"{address}/changed")
    assert nothing_in(store)
    page = b"<html>Please log in to the internet</html>"
    (tmp_path / "page").write_bytes(page)
    fooled = ModelStore(tmp_path / "fooled", known_as(tmp_path / "page", NAME))
    with served(page) as address, pytest.raises(UnusableWeights):
        fetched(fooled, f"{address}/right")
    assert nothing_in(fooled)


def test_a_server_that_sends_without_end_is_cut_off(
    store: ModelStore, published_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.model_download.LARGEST_BYTES", 1 << 22)
    told: list[tuple[int, int | None]] = []
    with served(published_file.read_bytes()) as address, pytest.raises(DownloadFailed, match="more than 4 MB"):
        fetched(store, f"{address}/endless", told=told)
    assert told[-1][0] <= 1 << 22
    assert nothing_in(store)


def test_nobody_there_is_no_connection(store: ModelStore) -> None:
    with pytest.raises(DownloadFailed) as caught:
        fetched(store, f"http://127.0.0.1:{free_port()}/right")
    assert caught.value.reason == "there is no connection to the server"
    with pytest.raises(DownloadFailed, match="address cannot be used"):
        fetched(store, "unet.pth")
    assert nothing_in(store)


def test_a_proxy_of_the_environment_is_used(
    store: ModelStore, published_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stands in for a proxy: it is asked for an address whose host does not exist."""
    with served(published_file.read_bytes()) as address:
        monkeypatch.setenv("http_proxy", address)
        stored = fetched(store, "http://weights.invalid/right")
    assert stored.imported_from == "http://weights.invalid/right"
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DownloadFailed, match="the proxy cannot be used"):
        fetched(store, "https://weights.invalid/right")


def test_only_a_server_with_a_trusted_certificate_is_asked(
    store: ModelStore, published_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(published_file.read_bytes(), tls=True) as address:
        with pytest.raises(DownloadFailed, match="certificate of the server is not trusted"):
            fetched(store, f"{address}/right")
        assert nothing_in(store)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates().authority))
        assert fetched(store, f"{address}/right") == store.find(NAME)


def test_an_address_with_tls_that_leads_to_one_without_is_refused(
    store: ModelStore, published_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates().authority))
    content = published_file.read_bytes()
    with served(content) as plain, served(content, tls=True, elsewhere=f"{plain}/right") as address:
        with pytest.raises(DownloadFailed, match="an address without TLS"):
            fetched(store, f"{address}/redirect")
        assert nothing_in(store)
    with served(content) as plain, served(content, elsewhere=f"{plain}/right") as address:
        fetched(store, f"{address}/redirect")


def test_secrets_of_an_address_are_not_shown(store: ModelStore, published_file: Path) -> None:
    with served(published_file.read_bytes()) as address:
        secret = address.replace("://", "://user:secret@") + "/right?token=secret"
        assert "secret" not in fetched(store, secret).imported_from
        with pytest.raises(DownloadFailed) as caught:
            fetched(store, secret.replace("right", "absent"))
        assert "secret" not in str(caught.value)
    assert shown("https://a.example/x.pth") == "https://a.example/x.pth"


def test_a_folder_that_cannot_be_written_is_named(published_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ModelStore(tmp_path / "file" / "models", known_as(published_file, NAME))
    with pytest.raises(ModelStoreUnwritable, match="cannot be written"):
        fetched(store, "http://127.0.0.1:1/right")


def test_the_error_is_a_known_one_and_may_pass() -> None:
    assert DownloadFailed.code == "DOWNLOAD_FAILED"
    assert not DownloadFailed.permanent
    assert not issubclass(DownloadFailed, InferenceError)
