"""Another process that uses the same spool, told what to do line by line.

open <association>                       -> done
keep <association> <number> <fill>       -> new | again | conflict | refused
release <association> / end <association> -> done
part                                     -> done; a file is half-written from then on
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import InstanceConflict, SpoolError
from dicom_node.reception.part_files import PartFiles
from dicom_node.reception.spool import Spool
from tests.small_ct import received, small_ct


@dataclass(frozen=True)
class SpoolProcess:
    """The other process."""

    process: "subprocess.Popen[str]"

    def tell(self, line: str) -> None:
        """Tell it something; it answers when it is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Its next answer."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def do(self, line: str) -> str:
        """Tell it something and wait for the answer."""
        self.tell(line)
        return self.answer()

    def kill(self) -> None:
        """End it as a power cut would, as far as the kernel goes on."""
        self.process.kill()
        self.process.wait()


@contextmanager
def spool_process(root: Path) -> Iterator[SpoolProcess]:
    """A process that works on the spool in `root`."""
    command = [sys.executable, "-m", "tests.spool_process", str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            other = SpoolProcess(process)
            assert other.answer() == "ready"
            yield other
        finally:
            process.kill()


def main() -> None:
    """Do what is told until there is nothing more."""
    root = Path(sys.argv[1])
    spool = Spool(root, minimum_free_mb=1)
    parts = PartFiles(root / "parts")
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["open", association]:
                spool.association_opened(association)
                print("done", flush=True)
            case ["keep", association, number, fill]:
                print(_kept(spool, association, int(number), int(fill)), flush=True)
            case ["release", association]:
                spool.association_released(association)
                print("done", flush=True)
            case ["end", association]:
                spool.association_ended(association)
                print("done", flush=True)
            case ["part"]:
                parts.write(b"half")
                print("done", flush=True)


def _kept(spool: Spool, association: str, number: int, fill: int) -> str:
    try:
        instance = spool.keep(received(small_ct(number, fill=fill), association))
    except InstanceConflict:
        return "conflict"
    except (SpoolError, OSError):
        return "refused"
    return "new" if instance.is_new else "again"


if __name__ == "__main__":
    main()
