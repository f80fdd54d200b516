"""The page as the process that a node starts: it serves, it obeys, and it does not outlive its parent."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dicom_node.errors import ConfigurationError, PortInUse
from dicom_node.processes.programs import PROGRAMS
from dicom_node.processes.roles import ALL_ROLES, Role
from dicom_node.serving.web_page import WebPage
from dicom_node.settings.config import read_settings
from dicom_node.web.web_process import NICER
from tests.certificates import certificates
from tests.dicom_node.web.conftest import PASSWORD, SITE
from tests.peers import eventually, free_port

_START_S = 120.0


def site(folder: Path, port: int, more: str = "") -> Path:
    path = folder / "site.toml"
    path.write_text(f'{SITE}[web]\nport = {port}\n{more}\n[log]\nformat = "json"\n')
    return path


@contextmanager
def running(path: Path, context: ssl.SSLContext | None = None) -> Iterator[WebPage]:
    """The page of a site, once it answers."""
    settings = read_settings(path)
    page = WebPage(settings, ALL_ROLES, PROGRAMS)
    page.start()
    try:
        assert eventually(lambda: answers(settings.web.port or 0, context), _START_S)
        yield page
    finally:
        page.stop()


def connection(port: int, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=30.0)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=30.0, context=context)


def answers(port: int, context: ssl.SSLContext | None = None) -> bool:
    asking = connection(port, context)
    try:
        asking.request("GET", "/sign-in")
        return asking.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asking.close()


def signed_in(port: int) -> str:
    """The cookie of somebody who has signed in."""
    asking = connection(port)
    asking.request("GET", "/sign-in")
    form = asking.getresponse()
    visit = str(form.getheader("set-cookie")).partition(";")[0]
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', form.read().decode())
    assert token is not None
    fields = urlencode({"csrf": token[1], "name": "viewer-1", "password": PASSWORD})
    headers = {"Cookie": visit, "Content-Type": "application/x-www-form-urlencoded"}
    asking.request("POST", "/sign-in", fields, headers)
    answer = asking.getresponse()
    assert answer.status == 303
    asking.close()
    return str(answer.getheader("set-cookie")).partition(";")[0]


def open_stream(port: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream of events that is being read."""
    asking = connection(port)
    asking.request("GET", "/api/v1/events", headers={"Cookie": signed_in(port), "Accept": "text/event-stream"})
    stream = asking.getresponse()
    assert stream.status == 200
    return asking, stream


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_it_serves_behind_what_receives_and_says_nothing_of_itself(node_folder: Path) -> None:
    port = free_port()
    with running(site(node_folder, port)) as page:
        assert page.process_id is not None
        assert os.getpriority(os.PRIO_PROCESS, page.process_id) == os.getpriority(os.PRIO_PROCESS, 0) + NICER
        asking = connection(port)
        asking.request("GET", "/sign-in")
        answer = asking.getresponse()
        assert "server" not in {name.lower() for name, _ in answer.getheaders()}
        asking.close()
        pid = page.process_id
    assert is_gone(pid)


def test_it_ends_soon_on_a_signal_and_comes_back_while_the_port_stays(node_folder: Path) -> None:
    port = free_port()
    with running(site(node_folder, port)) as page:
        asking, stream = open_stream(port)
        first = page.process_id
        assert first is not None
        os.kill(first, signal.SIGTERM)
        assert eventually(lambda: is_gone(first), 30.0)  # with the stream open, which never ends by itself
        stream.close()
        asking.close()
        assert eventually(lambda: (page.look(), page.process_id not in (None, first))[1], 30.0)
        assert eventually(lambda: answers(port), _START_S)


def test_it_stops_with_its_node_also_with_a_stream_open(node_folder: Path) -> None:
    port = free_port()
    with running(site(node_folder, port)) as page:
        asking, stream = open_stream(port)
        pid = page.process_id
    assert pid is not None
    assert is_gone(pid)
    stream.close()
    asking.close()


_PARENT = """
import sys, time
from pathlib import Path
from dicom_node.processes.programs import PROGRAMS
from dicom_node.processes.roles import ALL_ROLES
from dicom_node.serving.web_page import WebPage
from dicom_node.settings.config import read_settings
page = WebPage(read_settings(Path(sys.argv[1])), ALL_ROLES, PROGRAMS)
page.start()
print("page", page.process_id, flush=True)
time.sleep(600)
"""


def test_it_does_not_outlive_its_parent(node_folder: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", _PARENT, str(site(node_folder, port))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            pid = next(int(line.split()[1]) for line in parent.stdout if line.startswith("page "))
            assert eventually(lambda: answers(port), _START_S)
        finally:
            parent.kill()
        assert eventually(lambda: is_gone(pid), 30.0)
    assert eventually(lambda: is_free(port), 30.0)  # for whoever starts the node anew


def test_a_port_that_somebody_has_is_an_error_with_a_code(node_folder: Path) -> None:
    port = free_port()
    with running(site(node_folder, port)):
        other = WebPage(read_settings(node_folder / "site.toml"), ALL_ROLES, PROGRAMS)
        with pytest.raises(PortInUse, match=f"port {port}: Address already in use"):
            other.start()
        assert PortInUse.code == "PORT_IN_USE"
        other.stop()


def test_without_a_port_or_the_role_there_is_no_page(node_folder: Path) -> None:
    for page in (
        WebPage(read_settings(node_folder / "site.toml"), ALL_ROLES, PROGRAMS),
        WebPage(read_settings(site(node_folder, free_port())), ALL_ROLES - {Role.WEB}, PROGRAMS),
    ):
        page.start()
        page.look()
        assert page.process_id is None
        page.stop()


def test_it_speaks_tls_itself_with_cookies_for_tls_alone(node_folder: Path) -> None:
    made, port = certificates(), free_port()
    more = f'certificate = "{made.server.certificate}"\nkey = "{made.server.key}"'
    context = ssl.create_default_context(cafile=str(made.authority))
    with running(site(node_folder, port, more), context):
        assert not answers(port)
        asking = connection(port, context)
        asking.request("GET", "/sign-in")
        answer = asking.getresponse()
        assert str(answer.getheader("set-cookie")).startswith("__Host-perfnode-visit=")
        assert "; Secure" in str(answer.getheader("set-cookie"))
        assert answer.getheader("strict-transport-security") == "max-age=31536000"
        asking.close()


def test_a_certificate_without_its_key_stops_the_start(node_folder: Path) -> None:
    made = certificates()
    more = f'certificate = "{made.server.certificate}"\nkey = "{made.client.key}"'
    page = WebPage(read_settings(site(node_folder, free_port(), more)), ALL_ROLES, PROGRAMS)
    with pytest.raises(ConfigurationError, match=r"web\.certificate"):
        page.start()
