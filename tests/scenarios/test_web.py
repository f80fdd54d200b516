"""The operator's page of a real node: it is there with the node, and gone with it."""

import urllib.request
from http.client import HTTPException
from pathlib import Path

from tests.peers import eventually, free_port, listens
from tests.running_node import running_node


def form(port: int) -> str:
    """The page to sign in at; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30.0) as answer:
            return answer.read().decode()
    except (OSError, HTTPException):
        return ""


def test_a_node_with_a_port_for_it_has_a_page_to_sign_in_at(tmp_path: Path) -> None:
    port = free_port()
    with running_node(tmp_path, [], tables=f"[web]\nport = {port}\n") as node:
        assert eventually(lambda: "<h1>Sign in</h1>" in form(port), 120.0), node.log()
        (tmp_path / "password").write_text("a quiet morning\n")
        made = node.perfnode("web", "account", "add", "ada", "--password-file", str(tmp_path / "password"))
        assert made.returncode == 0, made.stderr
        assert node.stop() == 0
        assert not listens(port)
    events = [event["event"] for event in node.events()]
    assert "page_listens" in events
    assert "process_died" not in events
    assert not [event for event in node.events() if event["level"] == "error"]


def test_a_port_that_somebody_else_has_stops_the_start(tmp_path: Path) -> None:
    other = free_port()
    with running_node(tmp_path / "first", [], tables=f"[web]\nport = {other}\n") as first:
        done = first.perfnode("serve", "--role", "web", "--name", "2")
        assert done.returncode == 2
        assert f"PORT_IN_USE: The page cannot listen on 127.0.0.1 port {other}" in done.stderr
