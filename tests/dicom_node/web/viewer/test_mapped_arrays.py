"""Arrays that are looked at in their file."""

from pathlib import Path

import numpy as np
import pytest

from dicom_node.web.viewer.mapped_arrays import mapped_array


def test_it_is_what_numpy_reads(tmp_path: Path) -> None:
    first, second = np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.arange(7, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", first=first, second=second)
    found = mapped_array(tmp_path / "a.npz", "first")
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, first)
    assert found.dtype == first.dtype
    assert np.array_equal(mapped_array(tmp_path / "a.npz", "second"), second)


def test_it_stays_when_the_file_is_replaced(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.full(5, 1))
    found = mapped_array(tmp_path / "a.npz", "a")
    np.savez(tmp_path / "b.npz", a=np.full(5, 2))
    (tmp_path / "b.npz").replace(tmp_path / "a.npz")
    assert found.tolist() == [1] * 5


def test_what_cannot_be_mapped_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(5))
    with pytest.raises(ValueError, match="compressed"):
        mapped_array(tmp_path / "a.npz", "a")
    np.savez(tmp_path / "b.npz", a=np.asfortranarray(np.zeros((3, 4))))
    with pytest.raises(ValueError, match="fastest"):
        mapped_array(tmp_path / "b.npz", "a")
    with pytest.raises(KeyError):
        mapped_array(tmp_path / "b.npz", "c")
    with pytest.raises(FileNotFoundError):
        mapped_array(tmp_path / "c.npz", "a")
