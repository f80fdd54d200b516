"""Who is connected, over all receiver processes: one table in shared memory, so that limits hold for all of them.

A place is taken before anything is read from a connection and given back when its thread ends. The places of a process
that died are given back by its parent. Every process also leaves a sign of life here, by which a stuck one is found.
"""

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dicom_node.network.access import parse_address

TOO_MANY_CONNECTIONS: Final = "TOO_MANY_CONNECTIONS"
TOO_MANY_FROM_ADDRESS: Final = "TOO_MANY_FROM_ADDRESS"

_HEADER: Final = struct.Struct("<II")
"""Number of processes and of places."""
_PROCESS: Final = struct.Struct("<d")
"""When the process last showed that it lives, on the monotonic clock, which all processes share; 0: not running."""
_PLACE: Final = struct.Struct("<BB16s")
"""State, process and packed address of one connection."""
_FREE: Final = 0
_CONNECTED: Final = 1
_ASSOCIATED: Final = 2


class ConnectionSlots:
    """A table of connections. Threads may share one; each process opens its own on the same descriptor.

    Args:
        descriptor: of a table that `create` has made; belongs to this object from now on.
        process: number of this process, from 0.
    """

    def __init__(self, descriptor: int, process: int = 0) -> None:
        self.descriptor = descriptor
        self.process = process
        self._memory = mmap.mmap(descriptor, 0)
        self._processes, self._places = _HEADER.unpack_from(self._memory)
        self._first_place = _HEADER.size + self._processes * _PROCESS.size
        self._threads = threading.Lock()

    @classmethod
    def create(cls, places: int, processes: int = 1) -> "ConnectionSlots":
        """Make an empty table.

        Args:
            places: how many connections there may be at the same time.
            processes: how many processes share the table.
        """
        descriptor = os.memfd_create("connections", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _HEADER.size + processes * _PROCESS.size + places * _PLACE.size)
        os.pwrite(descriptor, _HEADER.pack(processes, places), 0)
        return cls(descriptor)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.descriptor)

    def take(self, ip: str, maximum_per_address: int) -> int | str:
        """A place for a connection from this address, or the code of the limit that is reached."""
        packed = _packed(ip)
        with self._locked():
            free, same_address = -1, 0
            for place in range(self._places):
                state, _, address = self._place(place)
                if state == _FREE:
                    free = place if free < 0 else free
                elif address == packed:
                    same_address += 1
            if same_address >= maximum_per_address:
                return TOO_MANY_FROM_ADDRESS
            if free < 0:
                return TOO_MANY_CONNECTIONS
            self._set_place(free, _CONNECTED, packed)
            return free

    def associate(self, place: int, maximum: int) -> bool:
        """Count the connection as an association, unless there are as many as allowed already."""
        with self._locked():
            if sum(self._place(other)[0] == _ASSOCIATED for other in range(self._places)) >= maximum:
                return False
            _, _, address = self._place(place)
            self._set_place(place, _ASSOCIATED, address)
            return True

    def free(self, place: int) -> None:
        """Give a place back."""
        with self._locked():
            self._set_place(place, _FREE, b"")

    def free_process(self, process: int) -> None:
        """Give all places of a process back that has ended."""
        with self._locked():
            _PROCESS.pack_into(self._memory, _HEADER.size + process * _PROCESS.size, 0.0)
            for place in range(self._places):
                if self._place(place)[1] == process:
                    self._set_place(place, _FREE, b"")

    def show_life(self) -> None:
        """Say that this process accepts connections."""
        _PROCESS.pack_into(self._memory, _HEADER.size + self.process * _PROCESS.size, time.monotonic())

    def last_life(self, process: int) -> float:
        """When that process last said so, on the monotonic clock; 0 if it has not yet."""
        return float(_PROCESS.unpack_from(self._memory, _HEADER.size + process * _PROCESS.size)[0])

    def load(self) -> list[int]:
        """Connections of each process; a hint, taken without the lock."""
        counts = [0] * self._processes
        for place in range(self._places):
            state, process, _ = self._place(place)
            if state != _FREE:
                counts[process] += 1
        return counts

    def associations(self) -> int:
        """Associations over all processes."""
        return sum(self._place(place)[0] == _ASSOCIATED for place in range(self._places))

    def is_busier_than_others(self) -> bool:
        """Whether another living process has fewer connections, so that it should take the next one."""
        load = self.load()
        others = [load[other] for other in range(self._processes) if other != self.process and self.last_life(other)]
        return bool(others) and min(others) < load[self.process]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX)  # between processes; goes with a process that is killed
            try:
                yield
            finally:
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def _place(self, place: int) -> tuple[int, int, bytes]:
        state, process, address = _PLACE.unpack_from(self._memory, self._first_place + place * _PLACE.size)
        return state, process, address

    def _set_place(self, place: int, state: int, address: bytes) -> None:
        _PLACE.pack_into(self._memory, self._first_place + place * _PLACE.size, state, self.process, address)


def _packed(ip: str) -> bytes:
    address = parse_address(ip.partition("%")[0])
    return (address.packed if address is not None else b"").ljust(16, b"\0")
