"""Arrays in NPZ files without reading them: a view of the file, of which only what is used comes into memory."""

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Shaped

_LOCAL_HEADER = 30
"""Bytes before the name in the local header of a ZIP member; its last four are the lengths of name and extra field."""


def mapped_array(path: Path, name: str) -> Shaped[np.ndarray, "..."]:
    """An array of an uncompressed NPZ file, read-only and mapped into memory.

    Whoever replaces the file by another one under its name does no harm: the mapping keeps to the old one.

    Args:
        path: written by `numpy.savez`.
        name: of the array.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: no such array in it.
        ValueError: the array is compressed, or a big one whose first index varies fastest.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"array {name} is compressed and cannot be mapped")
        file.seek(member.header_offset + _LOCAL_HEADER - 4)
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(member.header_offset + _LOCAL_HEADER + int(lengths.sum()))
        shape, dtype = _array_header(file)
        return np.memmap(file, dtype, "r", file.tell(), shape)


def _array_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, is_fortran, dtype = read[np.lib.format.read_magic(file)](file)
    if is_fortran:
        raise ValueError("the first index of the array varies fastest")
    return shape, dtype
