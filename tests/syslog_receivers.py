"""Syslog receivers on loopback: a scripted one for TLS that can misbehave, one for UDP, and rsyslog as installed."""

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.certificates import Certificates
from tests.peers import eventually, free_port, listens, program


class TlsReceiver:
    """Takes RFC 5425 frames; closes each connection after `hangs_up_after` messages, which it then does not count."""

    def __init__(self, context: ssl.SSLContext, port: int = 0) -> None:
        self.messages: list[bytes] = []
        self.hangs_up_after: int | None = None
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listening.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Stop listening and hang up."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                tcp, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(tcp)
            self._threads.append(threading.Thread(target=self._serve, args=(tcp,), daemon=True))
            self._threads[-1].start()

    def _serve(self, tcp: socket.socket) -> None:
        with tcp, suppress(OSError), self._context.wrap_socket(tcp, server_side=True) as connection:
            self._open.append(connection)
            self._read(connection)

    def _read(self, connection: ssl.SSLSocket) -> None:
        buffer, taken = b"", 0
        while piece := connection.recv(65536):
            buffer += piece
            while (match := re.match(rb"(\d+) ", buffer)) and len(buffer) >= match.end() + int(match[1]):
                if taken == self.hangs_up_after:
                    return
                end = match.end() + int(match[1])
                self.messages.append(buffer[match.end() : end])
                buffer, taken = buffer[end:], taken + 1


@contextmanager
def tls_receiver(certificates: Certificates, port: int = 0, version: str = "1.3") -> Iterator[TlsReceiver]:
    """A receiver that asks for a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    receiver = TlsReceiver(context, port)
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def rsyslog(folder: Path, certificates: Certificates) -> Iterator[tuple[int, int, Path]]:
    """A real rsyslog; yields its TLS port, its UDP port, and the file it writes message by message."""
    daemon = program("rsyslogd")
    tls_port, udp_port, output = free_port(), free_port(), folder / "received"
    configuration = folder / "rsyslog.conf"
    configuration.write_text(
        f'global(workDirectory="{folder}" maxMessageSize="64k"\n'
        f'  defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{certificates.authority}"\n'
        f'  defaultNetstreamDriverCertFile="{certificates.server.certificate}"\n'
        f'  defaultNetstreamDriverKeyFile="{certificates.server.key}")\n'
        'module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")\n'
        'module(load="imudp")\n'
        'template(name="raw" type="string"\n'
        '  string="%hostname%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%\\n")\n'
        f'input(type="imtcp" address="127.0.0.1" port="{tls_port}")\n'
        f'input(type="imudp" address="127.0.0.1" port="{udp_port}")\n'
        f'action(type="omfile" file="{output}" template="raw")\n'
    )
    log = (folder / "rsyslog.log").open("wb")
    command = [daemon, "-n", "-f", str(configuration), "-i", str(folder / "rsyslog.pid")]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        assert eventually(lambda: listens(tls_port)), (folder / "rsyslog.log").read_text()
        yield tls_port, udp_port, output
    finally:
        process.terminate()
        process.wait(10)
        log.close()
