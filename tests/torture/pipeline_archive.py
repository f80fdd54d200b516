"""A real Orthanc that notes every instance it is handed, behind a line that refuses, breaks off, stalls or is down.

Orthanc tells a script of every instance that arrives, of those it had before, too. So a second delivery is seen
although the archive holds one instance, and by the comment in it whether it brought another content. While a certain
file exists the script makes Orthanc answer Success and keep nothing.
"""

import random
import select
import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

from dicom_node.network.addresses import AeAddress
from tests.peers import Orthanc, free_port, orthanc

_SCRIPT: Final = """
function ReceivedInstanceFilter(dicom, origin, info)
  local forgets = io.open('{forgets}', 'r')
  local word = 'kept'
  if forgets ~= nil then forgets:close(); word = 'lost' end
  local seen = io.open('{seen}', 'a')
  seen:write(word .. '|' .. dicom['SOPInstanceUID'] .. '|' .. (dicom['ImageComments'] or '') .. '\\n')
  seen:close()
  return word == 'kept'
end
"""
_REJECTION: Final = bytes.fromhex("03000000000400020302")
"""A-ASSOCIATE-RJ: transient, by the service provider, local limit exceeded (PS3.8 table 9-21)."""


class Trouble(StrEnum):
    """How the line to the archive behaves."""

    NONE = "sound"
    REJECT = "associations rejected"
    CLOSE = "connections closed at once"
    ABORT = "connections broken in the middle"
    STALL = "nothing gets through"
    DOWN = "no connection"
    FORGET = "Success, and nothing kept"


class Line:
    """Forwards connections on a port to another one, with the trouble of the moment; what stalls ends with it.

    Args:
        target: host and port.
        host: where it listens.
        chance: where connections break off.
        given_up_after_s: the target hears that a stalled connection has ended after this long, as it would find out by
            its keepalives if a network had swallowed it.
    """

    def __init__(
        self,
        target: tuple[str, int],
        host: str = "127.0.0.1",
        *,
        chance: random.Random | None = None,
        given_up_after_s: float = 10**6,
    ) -> None:
        self.host, self.port = host, free_port()
        self._given_up_after_s = given_up_after_s
        self._target = target
        self._chance = chance or random.Random()
        self._trouble = Trouble.NONE
        self._changed = 0
        self._end = threading.Event()
        self._listening: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self.set(Trouble.NONE)

    @property
    def trouble(self) -> Trouble:
        """Of the moment."""
        return self._trouble

    def set(self, trouble: Trouble) -> None:
        """Behave so from now on."""
        self._trouble = trouble
        self._changed += 1
        if trouble is Trouble.DOWN:
            self._close()
        elif self._listening is None:
            self._listening = socket.create_server((self.host, self.port), backlog=64)
            self._start(self._accept, self._listening)

    def end(self) -> None:
        """Close everything."""
        self._end.set()
        self._close()
        for thread in self._threads:
            thread.join(10)

    def _close(self) -> None:
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                caller, _ = listening.accept()
            except OSError:
                return
            self._start(self._serve, caller)

    def _serve(self, caller: socket.socket) -> None:
        trouble = self._trouble
        with caller, suppress(OSError):
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if trouble is Trouble.REJECT:
                caller.settimeout(5)
                caller.recv(65536)
                caller.sendall(_REJECTION)
                caller.recv(1)
            elif trouble is Trouble.CLOSE:
                _reset(caller)
            else:
                self._forward(caller, trouble)

    def _forward(self, caller: socket.socket, trouble: Trouble) -> None:
        born, passed, silent_s = self._changed, 0, 0.0
        breaks_at = self._chance.randrange(200, 4000)
        with socket.create_connection(self._target, timeout=10) as target:
            target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._end.is_set():
                stalled = Trouble.STALL in (trouble, self._trouble)
                if stalled:
                    trouble = Trouble.STALL
                    silent_s += 0.1
                    self._end.wait(0.1)
                    if silent_s > self._given_up_after_s:
                        target.close()
                    if self._trouble is Trouble.STALL:
                        continue
                    _reset(caller)
                    return
                if self._trouble is Trouble.DOWN and born != self._changed:
                    _reset(caller)
                    return
                for tcp in select.select((caller, target), (), (), 0.2)[0]:
                    piece = tcp.recv(65536)
                    if not piece:
                        return
                    passed += len(piece)
                    if trouble is Trouble.ABORT and passed > breaks_at:
                        _reset(caller)
                        return
                    (target if tcp is caller else caller).sendall(piece)


def _reset(tcp: socket.socket) -> None:
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Archive:
    """What the archive has been handed, and what it holds."""

    def __init__(self, orthanc: Orthanc, line: Line, folder: Path) -> None:
        self.orthanc = orthanc
        self.line = line
        self._forgets = folder / "forgets"
        self._seen = folder / "seen"

    @property
    def address(self) -> AeAddress:
        """Where the node delivers to."""
        return AeAddress(self.orthanc.address.ae_title, self.line.host, self.line.port)

    def set(self, trouble: Trouble) -> None:
        """Behave so from now on."""
        if trouble is Trouble.FORGET:
            self._forgets.touch()
        else:
            self._forgets.unlink(missing_ok=True)
        self.line.set(Trouble.NONE if trouble is Trouble.FORGET else trouble)

    def arrivals(self) -> dict[str, Counter[tuple[str, str]]]:
        """By SOP Instance UID: how often it arrived, by whether it was kept and by its comment."""
        arrivals: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for line in self._seen.read_text().splitlines() if self._seen.exists() else ():
            word, uid, comment = line.split("|")
            arrivals[uid][word, comment.strip()] += 1
        return arrivals

    def holdings(self) -> dict[str, bytes]:
        """By SOP Instance UID: the file that it would give back."""
        instances = self.orthanc.get("/instances?expand")
        return {i["MainDicomTags"]["SOPInstanceUID"]: self.orthanc.file(i["ID"]) for i in instances}


@contextmanager
def archive(folder: Path, host: str = "127.0.0.1") -> Iterator[Archive]:
    """Orthanc behind a line, in a folder of its own. A later content under a known UID replaces the earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "note.lua"
    script.write_text(_SCRIPT.format(forgets=folder / "forgets", seen=folder / "seen"))
    options = {"LuaScripts": [str(script)], "OverwriteInstances": True, "SaveJobs": False}
    with orthanc(folder, options=options) as running:
        line = Line((running.address.host, running.address.port), host)
        try:
            yield Archive(running, line, folder)
        finally:
            line.end()
