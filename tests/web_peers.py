"""A DICOMweb service on loopback that does as it is told, with or without TLS."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.certificates import Certificates

Script = Callable[["WebRequest"], None]


class WebRequest(BaseHTTPRequestHandler):
    """One request; the script answers it with `answer`, or by hand."""

    protocol_version = "HTTP/1.1"
    script: Script

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes = b"", content_type: str = "application/dicom+json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:  # the library's names
        self.script()

    def do_POST(self) -> None:
        self.script()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to standard error."""


@contextmanager
def web_service(script: Script, *, certificates: Certificates | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """Run the service and yield its URL; with `certificates` it shows one and asks for one."""
    handler = type("Scripted", (WebRequest,), {"script": script})
    server = _Server((host, 0), handler)
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server.certificate, certificates.server.key)
        context.load_verify_locations(certificates.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        scheme = "http" if certificates is None else "https"
        yield f"{scheme}://{host}:{server.server_address[1]}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or that fails its handshake, is part of the tests."""
