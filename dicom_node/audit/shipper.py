"""Carries `audit.log` to the syslog server, from where it stopped last time, for as long as it takes.

The file is the queue: reception never waits for the server, a restart loses nothing, and a server that was away for a
week gets the week. A message counts as sent only when TCP has acknowledged it and the connection still stands; after a
fault the batch is sent again, so the server may see a message twice. Its line number tells.
"""

import json
import threading
import time
from contextlib import suppress
from itertools import islice, takewhile
from pathlib import Path
from typing import Final

import structlog

from dicom_node.audit.chain import is_complete
from dicom_node.audit.syslog import Connection, SyslogServer, connect
from dicom_node.durable_files import write_json

log = structlog.get_logger()

_BATCH_LINES: Final = 100
_LOOK_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0


class Shipper:
    """A thread that follows the file; one per node, in its main process.

    Args:
        log_file: `audit.log`.
        server: where its lines go.
    """

    def __init__(self, log_file: Path, server: SyslogServer) -> None:
        self._log_file = log_file
        self._server = server
        self._position_file = log_file.with_name("shipped.json")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._offset = self._read_position()

    @property
    def waiting_bytes(self) -> int:
        """What the server does not have yet."""
        return max(0, self._size() - self._offset)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread = threading.Thread(target=self._run, name="audit-shipper", daemon=True)
        self._thread.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Try to send what is left for `grace_s`, then end; what remains is sent after the next start."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        deadline = time.monotonic() + grace_s
        self._stopping.set()
        thread.join(max(0.0, deadline - time.monotonic()))
        if self.waiting_bytes:
            log.warning("audit_not_shipped", code="SYSLOG_UNREACHABLE", waiting_bytes=self.waiting_bytes)

    def _run(self) -> None:
        wait_s = _LOOK_S
        while True:
            last_round = self._stopping.is_set()
            try:
                while self.waiting_bytes and self._ship_batch():
                    pass
                if wait_s > _LOOK_S:
                    log.info("audit_shipped_again", server=str(self._server))
                wait_s = _LOOK_S
            except OSError as fault:
                self._disconnect()
                log.warning(
                    "audit_not_shipped",
                    code="SYSLOG_UNREACHABLE",
                    kind=type(fault).__name__,
                    waiting_bytes=self.waiting_bytes,
                )
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            if last_round:
                self._disconnect()
                return
            self._stopping.wait(wait_s)

    def _ship_batch(self) -> bool:
        """Send some lines; whether there was a whole one."""
        with self._log_file.open("rb") as file:
            file.seek(self._offset)
            # Ends at a line without its end: it is being written, and the next read would give the rest of it.
            lines = list(takewhile(lambda line: line.endswith(b"\n"), islice(file, _BATCH_LINES)))
        if not lines:
            return False
        whole = [line[:-1] for line in lines if is_complete(line[:-1])]  # a crash may have left the start of one
        if whole:
            if self._connection is None:
                self._connection = connect(self._server)
            self._connection.send(whole)
        self._offset += sum(map(len, lines))
        write_json(self._position_file, {"offset": self._offset})
        return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _read_position(self) -> int:
        try:
            offset = int(json.loads(self._position_file.read_text())["offset"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            log.error("audit_position_unreadable", code="AUDIT_POSITION")
            return 0  # twice is better than never
        if offset > self._size():
            log.error("audit_log_shorter", code="AUDIT_LOG_SHORTER")  # nobody but an intruder or a new disk does that
            return 0
        return offset

    def _size(self) -> int:
        return self._log_file.stat().st_size if self._log_file.exists() else 0
