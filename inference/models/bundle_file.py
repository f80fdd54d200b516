"""A model bundle as one file, to be mailed, carried or kept: a zip of exactly the files of the bundle.

Equal bundles give equal bytes: entries are sorted, not compressed and carry no clock. What comes in is foreign, so
nothing is unpacked but names that a bundle can hold, with a limit on number and bytes that does not believe the zip's
own words. Whether it is what somebody trusted has signed is `read_bundle`'s to say, afterwards.
"""

import shutil
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from inference.errors import InvalidModelBundle
from inference.models.bundle import SUMS_FILE
from inference.models.manifest import MANIFEST_FILE, FilePath
from inference.models.signature import SIGNATURE_FILE

OUTER_FILES = (MANIFEST_FILE, SIGNATURE_FILE, SUMS_FILE)
"""What a bundle holds besides the files of its manifest."""
MOST_FILES = 1000
MOST_BYTES = 8 << 30
"""Of all files together. Our own limits: far above every model, far below a disk."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
_PLAIN_FILE = 0o100644 << 16


def pack_bundle(folder: Path, paths: Iterable[str], file: Path) -> None:
    """Write files of a bundle into a new zip file.

    Args:
        folder: the bundle.
        paths: of its files, inside it.
        file: must not exist.

    Raises:
        FileExistsError: `file` exists.
        OSError: it cannot be written.
    """
    with zipfile.ZipFile(file, "x", zipfile.ZIP_STORED) as packed:
        for path in sorted(paths):
            entry = zipfile.ZipInfo(path, _EARLIEST)
            entry.external_attr = _PLAIN_FILE
            with (folder / path).open("rb") as source, packed.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, _CHUNK)


def unpack_bundle(file: Path, folder: Path) -> None:
    """Write what a zip file holds into a new folder. Nothing is trusted and nothing is checked but the form.

    Raises:
        InvalidModelBundle: it is no zip file, was cut, or holds what no bundle can hold.
        OSError: `folder` cannot be written.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            entries = packed.infolist()
            _require_possible(file, entries)
            room = MOST_BYTES
            for entry in entries:
                room -= _unpack(packed, entry, folder / entry.filename, room)
                if room < 0:
                    raise InvalidModelBundle(str(file), f"it holds more than {MOST_BYTES >> 30} GiB")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, RuntimeError) as fault:
        raise InvalidModelBundle(str(file), "it is no whole zip file with a bundle, and no folder") from fault


def _require_possible(file: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > MOST_FILES or len(set(names)) < len(names):
        raise InvalidModelBundle(str(file), f"it holds a name twice, or more than {MOST_FILES} files")
    if odd := [name for name in names if name not in OUTER_FILES and not _can_be_in_bundle(name)]:
        raise InvalidModelBundle(str(file), f"it holds {odd[0]!r}, which cannot be part of a bundle")


def _can_be_in_bundle(name: str) -> bool:
    try:
        TypeAdapter(FilePath).validate_python(name)
    except ValidationError:
        return False
    return True


def _unpack(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, room: int) -> int:
    """Write one entry; how many bytes it had, or more than `room`, if it would not end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size_bytes = 0
    with packed.open(entry) as source, path.open("xb") as target:
        while size_bytes <= room and (chunk := source.read(_CHUNK)):
            size_bytes += target.write(chunk)
    return size_bytes
