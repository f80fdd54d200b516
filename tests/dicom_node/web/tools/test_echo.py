"""Which peers are there: real archives that answer, ports where nobody listens, and a page that waits for none."""

import socket
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination
from dicom_node.network.echo import EchoAnswer, answer_of
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.settings.config import read_settings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from dicom_node.web.tools.echo_board import AT_ONCE, NOT_ASKED, EchoBoard, EchoState
from tests.dicom_node.web.conftest import PASSWORD, ClientFor, browser, sign_in, token_on
from tests.peers import eventually, free_port, orthanc, storescp


def destination(name: str, port: int, host: str = "127.0.0.1") -> Destination:
    return Destination(name, AeAddress("PEER", host, port))


@pytest.fixture
def silent() -> "socket.socket":
    """A peer that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_peer_answers_or_says_why_not(tmp_path: Path, silent: socket.socket) -> None:
    with storescp(tmp_path / "scp") as address:
        there = answer_of(Destination("scp", address), 10.0)
    assert there.code == ""
    assert there.seconds is not None
    assert there.seconds > 0.0
    gone = answer_of(destination("gone", free_port()), 10.0)
    assert (gone.seconds, gone.code) == (None, "PEER_UNREACHABLE")
    mute = answer_of(destination("mute", silent.getsockname()[1]), 0.5)
    assert (mute.seconds, mute.code) == (None, "PEER_UNREACHABLE")


def test_a_web_service_is_asked_too(tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc", dicomweb=True) as archive:
        assert answer_of(DicomwebPeer("cloud", archive.dicomweb_url), 10.0).code == ""
        assert answer_of(Destination("pacs", archive.address), 10.0).code == ""
        blind = DicomwebPeer("blind", archive.dicomweb_url, token_file=tmp_path / "no-such-file")
        assert answer_of(blind, 10.0).code == "PEER_UNREACHABLE"


def test_peers_are_asked_at_once_up_to_a_limit_and_each_only_once() -> None:
    go, asked, most = threading.Event(), list[str](), list[int]()
    running = threading.Semaphore(0)

    def ask(peer: object, limit_s: float) -> EchoAnswer:
        asked.append(peer.name)  # type: ignore[attr-defined]
        running.release()
        most.append(len(asked))
        assert go.wait(60)
        return EchoAnswer(0.001)

    board = EchoBoard([destination(f"d{k}", 104) for k in range(AT_ONCE + 2)], [], ask)
    lines = board.ask()
    assert len(lines) == AT_ONCE + 2, "the call came back while nobody has answered"
    for _ in range(AT_ONCE):
        assert running.acquire(timeout=60)
    board.ask()
    board.ask("d0")
    assert len(asked) == AT_ONCE
    assert [line.state for line in board.lines()].count(EchoState.WAITING) == 2
    go.set()
    assert eventually(lambda: not any(line.is_open for line in board.lines()), 60)
    assert sorted(asked) == sorted(f"d{k}" for k in range(AT_ONCE + 2))
    assert {line.state for line in board.lines()} == {EchoState.THERE}
    board.close()


def test_a_library_that_throws_leaves_an_answer() -> None:
    def ask(peer: object, limit_s: float) -> EchoAnswer:
        raise RuntimeError("whatever")

    board = EchoBoard([destination("d", 104)], [], ask)
    board.ask("d")
    assert eventually(lambda: board.lines()[0].state is EchoState.NOT_THERE, 60)
    assert board.lines()[0].code == NOT_ASKED
    assert "whatever" not in board.lines()[0].message
    with pytest.raises(KeyError):
        board.ask("nobody")
    board.close()


def test_the_api_asks_and_tells(node_folder: Path, tmp_path: Path) -> None:
    with storescp(tmp_path / "scp") as address:
        table = f'[[peers]]\nname = "archive"\nae_title = "{address.ae_title}"\nhost = "{address.host}"\n'
        site = node_folder / "site.toml"
        site.write_text(f"{site.read_text()}{table}port = {address.port}\n")
        with browser(create_app(read_settings(site))) as client:
            assert sign_in(client, "operator-1", PASSWORD).status_code == 303
            client.headers["X-CSRF-Token"] = token_on(client, "/nowhere")
            before = client.get("/api/v1/echo").json()
            assert [(p["name"], p["role"], p["state"]) for p in before["peers"]] == [
                ("pacs", "destination", "not asked"),
                ("archive", "peer", "not asked"),
            ]
            assert client.post("/api/v1/echo", params={"name": "nobody"}).status_code == 404
            assert client.post("/api/v1/echo").status_code == 202
            assert eventually(lambda: not client.get("/api/v1/echo").json()["is_open"], 60)
            found = {peer["name"]: peer for peer in client.get("/api/v1/echo").json()["peers"]}
            assert found["archive"]["state"] == "there"
            assert found["archive"]["milliseconds"] > 0
            assert (found["pacs"]["state"], found["pacs"]["code"]) == ("not there", "PEER_UNREACHABLE")
            page = client.get("/tools/echo").text
            assert "PEER_UNREACHABLE" in page
            form = client.post("/tools/echo", data={"name": "archive"})
            assert (form.status_code, form.headers["location"]) == (303, "/tools/echo")


def test_calling_peers_is_for_operators(client_for: ClientFor) -> None:
    viewer: TestClient = client_for(PageRole.VIEWER)
    for answer in (viewer.get("/tools/echo"), viewer.get("/api/v1/echo"), viewer.post("/api/v1/echo")):
        assert answer.status_code == 403
