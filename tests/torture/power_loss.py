"""What a power cut can leave of the spool, worked out from the system calls of a real run.

The file system promises no more than POSIX does: bytes of a file last once the file was synced, names in a directory
once the directory was. A name that was not synced may last or not. So at each system call the tree is looked at twice:
only with what must have lasted, where everything acknowledged has to be found; and with every name there ever was,
where nothing may be short under a final name. The same after a process was killed and another one went on: what the
first had not yet made durable, the second must, before it acknowledges. Needs strace.

    python -m tests.torture.power_loss
"""

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.write_path import KILLED, MOST_CALLS, Fault, struck, warm_up
from tests.torture.write_scenario import ALL

CALLS = "openat,mkdir,writev,write,fsync,rename,unlink,rmdir"
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (\d+)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")


@dataclass(eq=False)
class Node:
    """A file or folder: how it is now, and what of it is on disk."""

    written: int = 0
    synced: int = 0
    now: dict[str, "Node"] = field(default_factory=dict)
    on_disk: dict[str, "Node"] = field(default_factory=dict)

    def sync(self) -> None:
        """What fsync promises."""
        self.synced = self.written
        self.on_disk = dict(self.now)


class Disk:
    """The tree under `root`, which is taken to be there and on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Node()
        self.violations: list[str] = []
        self.acknowledged: dict[Node, str] = {}
        self.calls = 0

    def run(self, line: str) -> None:
        """Do what one line of strace says, then look at what a power cut would leave now."""
        match = _LINE.match(line)
        if match is None:
            return
        call, arguments, result = match.group(1), match.group(2), int(match.group(3))
        paths = [Path(text) for text in _QUOTED.findall(arguments)]
        handle = getattr(self, f"_{call}")
        handle(paths, arguments, result)
        self.calls += str(self.root) in line
        for node, text in self.acknowledged.items():
            if node.synced < node.written or not self._lasts(self.tree, node):
                self.violations.append(f"{text}, but would be lost or short after: {line.strip()[:120]}")

    def _place(self, path: Path) -> tuple[Node, str] | None:
        if not path.is_relative_to(self.root):
            return None
        parent = self.tree
        for name in path.relative_to(self.root).parts[:-1]:
            parent = parent.now[name]
        return parent, path.name

    def _node(self, path: Path) -> Node | None:
        if path == self.root:
            return self.tree
        place = self._place(path)
        return None if place is None else place[0].now.get(place[1])

    def _open_node(self, arguments: str) -> Node | None:
        match = _DESCRIPTOR.match(arguments)
        return None if match is None else self._node(Path(match.group(1)))

    def _openat(self, paths: list[Path], arguments: str, result: int) -> None:
        if "O_CREAT" in arguments and (place := self._place(paths[-1])) is not None:
            place[0].now.setdefault(place[1], Node())

    def _mkdir(self, paths: list[Path], arguments: str, result: int) -> None:
        if (place := self._place(paths[0])) is not None:
            place[0].now[place[1]] = Node()

    def _writev(self, paths: list[Path], arguments: str, result: int) -> None:
        if (node := self._open_node(arguments)) is not None:
            node.written += result
            if _DESCRIPTOR.findall(arguments)[0].endswith((".dcm", ".open", ".closed", ".conflict")):
                self.violations.append("a file is written under its final name")

    def _write(self, paths: list[Path], arguments: str, result: int) -> None:
        self._writev(paths, arguments, result)
        said = _QUOTED.findall(arguments)
        if said and said[0].startswith("ack "):
            item = ALL[int(said[0].removesuffix("\\n").split()[1])]
            node = self._node(self.root / "spool" / "incoming" / item.series_key / item.name)
            if node is None:
                self.violations.append("acknowledged, but there is no file")
            else:
                self.acknowledged[node] = f"{item.name[:8]} is acknowledged"
                folder = self._node(self.root / "spool" / "incoming" / item.series_key / "associations") or Node()
                markers = [marker for name, marker in folder.now.items() if name.endswith(".open")]
                if not any(marker.synced and self._lasts(self.tree, marker) for marker in markers):
                    self.violations.append("acknowledged, but the transfer is not marked as open on disk")

    def _fsync(self, paths: list[Path], arguments: str, result: int) -> None:
        if (node := self._open_node(arguments)) is not None:
            node.sync()

    def _rename(self, paths: list[Path], arguments: str, result: int) -> None:
        source, target = self._place(paths[0]), self._place(paths[1])
        if source is None or target is None:
            return
        node = source[0].now.pop(source[1])
        target[0].now[target[1]] = node
        if not target[1].endswith(".part") and node.synced < node.written:
            self.violations.append(f"{target[1][:8]} gets its final name before its bytes are on disk")

    def _unlink(self, paths: list[Path], arguments: str, result: int) -> None:
        if (place := self._place(paths[0])) is not None:
            place[0].now.pop(place[1], None)

    _rmdir = _unlink

    def _lasts(self, folder: Node, wanted: Node) -> bool:
        return any(node is wanted or self._lasts(node, wanted) for node in folder.on_disk.values())


def disk_after(root: Path, fault: Fault | None) -> tuple[Disk, bool]:
    """Record a run, and if a fault is wanted a second one after it; also say whether the fault came about."""
    root.mkdir()
    disk = Disk(root)
    outcome = struck(root, fault, trace=CALLS)
    runs = [outcome] if fault is None else [outcome, struck(root, None, trace=CALLS)]
    for run in runs:
        for line in run.calls:
            disk.run(line)
    last = runs[-1].said
    if sum(line.startswith("ack") for line in last) != 4 or "conflict 4" not in last or len(disk.acknowledged) < 3:
        disk.violations.append("the last run did not do all of its work")
    shutil.rmtree(root)
    return disk, outcome.happened


def check(folder: Path) -> tuple[int, list[str]]:
    """A run as it should be, then one killed at each sync and rename and followed by another; number of moments."""
    disk, _ = disk_after(folder / "root", None)
    moments, violations = disk.calls, disk.violations
    for call in ("fsync", "rename"):
        for number in range(1, MOST_CALLS):
            fault = Fault(call, KILLED, number)
            disk, happened = disk_after(folder / "root", fault)
            violations += [f"{fault}: {text}" for text in disk.violations]
            if not happened:
                break
            moments += disk.calls
    return moments, violations


def main() -> int:
    """Run and print; 1 if anything was found wrong."""
    with tempfile.TemporaryDirectory() as folder:
        warm_up(Path(folder))
        moments, violations = check(Path(os.path.realpath(folder)))
    for line in dict.fromkeys(violations):
        print(f"WRONG: {line}")
    print(f"{moments} moments for a power cut, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
