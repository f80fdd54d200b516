"""The same random network in TotalSegmentator and here: every voxel is compared. `make test-totalsegmentator`.

The network is not symmetric and its input is a thorax, so another orientation, spacing, normalisation, tile or tensor
would give other labels.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.anatomy import Lobe
from inference.geometry import Grid, Reorientation
from inference.images import to_image
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax
from inference.totalsegmentator.totalseg_lobes import LOBE_OF_TOTALSEGMENTATOR, TotalSegmentatorLobes
from inference.volumes import CtVolume, SeriesReference
from inference.weights.model_store import ModelStore
from tests.stand_in_weights import ORGANS

ORIGINAL = Path(os.environ.get("TOTALSEGMENTATOR", Path(sys.prefix) / "totalsegmentator"))
pytestmark = pytest.mark.skipif(
    not (ORIGINAL / "totalsegmentator").is_dir(), reason="TotalSegmentator is not here: make test-totalsegmentator"
)


def original(home: Path, *arguments: str) -> None:
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": f".:{ORIGINAL}", "HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.totalseg_original", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    original(folder / "home", "make", str(folder))
    return folder


@pytest.fixture(scope="module")
def segmenter(network: Path) -> TotalSegmentatorLobes:
    store = ModelStore(network / "models")
    return TotalSegmentatorLobes(store.import_file("totalsegmentator-lobes", network), "cpu")


@pytest.mark.parametrize(
    "flips", [(False, False, False), (True, False, True), (False, True, True)], ids=["HFS", "FFS", "HFP"]
)
def test_every_voxel_gets_the_label_that_totalsegmentator_gives(
    tmp_path: Path,
    network: Path,
    segmenter: TotalSegmentatorLobes,
    thorax: DigitalThorax,
    flips: tuple[bool, bool, bool],
) -> None:
    encode = Reorientation((0, 1, 2), flips)
    grid, hu = encode.grid(thorax.ct.grid), np.ascontiguousarray(encode.apply(thorax.ct.hu))
    sitk.WriteImage(to_image(hu, grid), str(tmp_path / "ct.nii.gz"))
    original(tmp_path / "home", "predict", str(network), str(tmp_path / "ct.nii.gz"), str(tmp_path / "labels.npy"))
    values = np.zeros(256, dtype=np.uint8)
    for organ, lobe in LOBE_OF_TOTALSEGMENTATOR.items():
        values[ORGANS.index(organ)] = lobe.value
    theirs = values[np.load(tmp_path / "labels.npy")]
    ours = segmenter.as_drawn(ct_of(hu, grid))
    print(f"{np.count_nonzero(ours != theirs)} of {theirs.size} voxels differ")
    assert np.count_nonzero(ours != theirs) <= 1e-4 * theirs.size
    assert min(np.count_nonzero(theirs == lobe) for lobe in Lobe) > 100


def ct_of(hu: np.ndarray, grid: Grid) -> CtVolume:
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    return CtVolume(hu, grid, SeriesReference("1.2.7", "1.2.8", FRAME_OF_REFERENCE_UID, uids))
