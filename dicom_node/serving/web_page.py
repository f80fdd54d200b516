"""The role `web`: the operator's page as a process of its own, kept alive.

Its socket is opened here, once: a port that somebody else has is an error at the start, and while the process starts
anew browsers wait instead of being refused.
"""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Set
from typing import Final

import structlog

from dicom_node.errors import ConfigurationError, PortInUse
from dicom_node.processes.kept_process import KeptProcess
from dicom_node.processes.programs import Programs
from dicom_node.processes.roles import Role
from dicom_node.settings.config import NodeSettings

_BACKLOG: Final = 128
_GRACE_S: Final = 4.0
_END_S: Final = 5.0

log = structlog.get_logger()


class WebPage:
    """The page of one `perfnode serve`; nothing where the site wants none, or another host shows it.

    Args:
        settings: of the node.
        roles: of this `serve`.
        programs: what is started.
    """

    def __init__(self, settings: NodeSettings, roles: Set[Role], programs: Programs) -> None:
        self._settings = settings
        self._programs = programs
        self._is_wanted = Role.WEB in roles and settings.web.port is not None
        self._listening: socket.socket | None = None
        self._kept = KeptProcess("web", self._spawn)

    @property
    def process_id(self) -> int | None:
        """Of the process that runs now."""
        return self._kept.process.pid if self._kept.process else None

    def start(self) -> None:
        """Listen, and start the process.

        Raises:
            PortInUse: somebody else listens there, or the address is not ours.
            ConfigurationError: certificate and key cannot be used.
        """
        web = self._settings.web
        if not self._is_wanted or web.port is None:
            return
        self._check_certificate()
        self._listening = _listen(web.host.strip("[]"), web.port)
        self.look()
        log.info("page_listens", host=web.host, port=web.port)

    def look(self) -> None:
        """Start the process anew if it has ended; to be called often."""
        if self._listening is not None:
            self._kept.look()

    def stop(self) -> None:
        """Listen no longer, and wait until the process has ended."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        listening.close()
        self._kept.tell(_GRACE_S)
        self._kept.end(time.monotonic() + _GRACE_S + _END_S)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        assert self._listening is not None  # noqa: S101  # `look` asks
        descriptor = self._listening.fileno()
        return subprocess.Popen(
            [sys.executable, "-m", self._programs.web, self._settings.source, str(descriptor)],
            stdin=subprocess.PIPE,
            pass_fds=(descriptor,),
            env={"MALLOC_ARENA_MAX": "2", **os.environ},
        )

    def _check_certificate(self) -> None:
        web = self._settings.web
        if web.certificate is None:
            return
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(web.certificate, web.key)
        except (OSError, ValueError) as fault:  # an SSLError is an OSError
            reason = f"web.certificate: certificate and key cannot be used: {fault}"
            raise ConfigurationError(self._settings.source, (reason,)) from fault


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as fault:
        listening.close()
        raise PortInUse(host, port, fault.strerror or type(fault).__name__) from fault
    return listening
