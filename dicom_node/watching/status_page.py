"""The page for machines: `/metrics` for Prometheus, `/health/live` and `/health/ready` for whoever restarts or routes.

A small server of the standard library, the one that prometheus_client itself uses. It reads nothing but the first line
and headers of a GET, in a few threads, each connection for a few seconds: who holds it up holds up no work. It has no
TLS and asks nobody who he is, so it listens on loopback unless the site says otherwise.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from dicom_node.settings.watch_settings import StatusSettings
from dicom_node.watching.node_checks import Check

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

_THREADS: Final = 4
_LOOK_S: Final = 0.1
"""How often the accepting thread looks whether to stop."""
_CONNECTION_S: Final = 10.0
"""A connection is cut after this long, whatever it does."""
_KEPT_S: Final = 5.0
"""Several scrapers at once cost one look."""
_MOST_WAITING: Final = 16
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
Answer = tuple[HTTPStatus, str, bytes]

log = structlog.get_logger()


class Health(Protocol):
    """What the watchdog knows."""

    @property
    def checks(self) -> Sequence[Check]:
        """The last checks."""

    @property
    def is_ready(self) -> bool:
        """Whether the node can take and do work."""

    @property
    def is_alive(self) -> bool:
        """Whether the process should go on."""


class StatusPage:
    """The server and its threads.

    Args:
        settings: where it listens; without a port there is none.
        health: what it says of the node.
        collectors: what it looks up when it is scraped.
    """

    def __init__(self, settings: StatusSettings, health: Health, collectors: "Sequence[Collector]" = ()) -> None:
        self._settings = settings
        self._health = health
        self._collectors = tuple(collectors)
        self._lock = threading.Lock()
        self._kept: tuple[float, bytes] | None = None
        self._server: _Server | None = None
        self._serving: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The TCP port, 0 if there is no page."""
        return 0 if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Listen; nothing where the site wants no page.

        Raises:
            OSError: the address cannot be bound.
        """
        if self._settings.port is None:
            return
        self._server = _Server(self._settings.host, self._settings.port, self._answer)
        self._serving = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_S,), name="status-page", daemon=True
        )
        self._serving.start()
        log.info("status_page_started", host=self._settings.host, port=self.port)

    def stop(self) -> None:
        """Listen no longer."""
        server, self._server = self._server, None
        if server is not None and self._serving is not None:
            server.shutdown()
            self._serving.join()
            server.server_close()

    def metrics(self) -> bytes:
        """All metrics as text (Prometheus exposition format 0.0.4), made anew after some seconds."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > _KEPT_S:
                self._kept = time.monotonic(), self._made()
            return self._kept[1]

    def _made(self) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest

        text = b""
        for collector in (*self._collectors, _Checks(self._health)):
            registry = CollectorRegistry()
            try:
                registry.register(collector)
                text += generate_latest(registry)
            except Exception as fault:  # a process was killed while it wrote its numbers; the others are still true
                log.error("metrics_unreadable", code="METRICS_UNREADABLE", kind=type(fault).__name__)
        return text

    def _answer(self, path: str) -> Answer:
        if path == "/metrics":
            return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics()
        if path == "/health/live":
            return _verdict(self._health.is_alive, {"alive": self._health.is_alive})
        if path == "/health/ready":
            checks = {check.name: check_fields(check) for check in self._health.checks}
            return _verdict(self._health.is_ready, {"ready": self._health.is_ready, "checks": checks})
        return HTTPStatus.NOT_FOUND, _TEXT, b"not found\n"


def check_fields(check: Check) -> dict[str, Any]:
    """A check as JSON."""
    return {"ok": check.ok, "weight": check.weight.value, "code": check.code, "detail": check.detail}


def _verdict(good: bool, fields: dict[str, Any]) -> Answer:
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, _JSON, json.dumps(fields).encode() + b"\n"


class _Checks:
    """The checks of the watchdog as a metric."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> "Iterable[Family]":
        from dicom_node.watching.job_metrics import CHECK_OK, family

        return [family(CHECK_OK, [((check.name,), float(check.ok)) for check in self._health.checks])]


class _Server(HTTPServer):
    """Few threads, few connections, and none of them for long."""

    request_queue_size = _MOST_WAITING

    def __init__(self, host: str, port: int, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="status-page")
        self._room = threading.Semaphore(_MOST_WAITING)
        super().__init__((host.strip("[]"), port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking the network for the name of our address."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection in a thread, if there is room."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._threads.submit(self._serve, request, client_address)

    def server_close(self) -> None:
        """Close the socket and end the threads."""
        super().server_close()
        self._threads.shutdown(wait=False)

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        cut = threading.Timer(_CONNECTION_S, _cut, (request,))
        cut.daemon = True
        cut.start()
        try:
            self.finish_request(request, client_address)
        except Exception as fault:  # the peer went away, or what it asked for cannot be made
            log.debug("status_page_failed", kind=type(fault).__name__)
        finally:
            cut.cancel()
            self.shutdown_request(request)
            self._room.release()


def _cut(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers a GET, says nothing about itself, repeats nothing that it was told, and writes no log."""

    server: _Server
    timeout = _CONNECTION_S

    def do_GET(self) -> None:  # the library finds it by this name
        """Answer."""
        self._send(*self.server.answer(self.path.partition("?")[0]))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses: other methods, lines and headers that are too long or are none."""
        code = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else code
        self._send(HTTPStatus(code), _TEXT, b"only GET, and only what docs/operating.md lists\n")

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response_only(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        for name, value in {**headers, "X-Content-Type-Options": "nosniff", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
