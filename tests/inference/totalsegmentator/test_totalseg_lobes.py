"""The third engine with a network that knows directions: whatever the patient position, each lobe lies where it should.

The CT is a bright box in the dark. HU rise towards the patient's right at its left face, so there the network finds
what `RISES_TOWARDS` says, and so on for four other faces.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.engine import EngineSettings, build_segmenter
from inference.errors import LungsNotFound, ModelError, ModelNotFound, OutOfMemory, StoredModelDamaged
from inference.execution import Descent, Execution, OnLadder, Rung, climb_down
from inference.geometry import Grid, Reorientation
from inference.lobes import LobeSegmenter
from inference.totalsegmentator.totalseg_lobes import LOBE_OF_TOTALSEGMENTATOR, TotalSegmentatorLobes
from inference.volumes import CtVolume, SeriesReference
from inference.weights.model_store import ModelStore
from tests.stand_in_weights import ORGANS, PLANS, RISES_TOWARDS, nnunet_folder

SPACING_MM = (5.0, 4.0, 4.0)
GRID = Grid.axial((72, 90, 90), SPACING_MM, (-180.0, -180.0, 0.0), frame_of_reference_uid="1.2.3")
BOX = (slice(6, 56), slice(8, 66), slice(6, 64))
"""Off the middle along every axis, so that what is mirrored lies elsewhere."""
MIDDLE_OF_FACE = {
    Lobe.RUL: (31, 37, 63),
    Lobe.LUL: (31, 37, 6),
    Lobe.RML: (31, 65, 35),
    Lobe.LLL: (31, 8, 35),
    Lobe.RLL: (6, 37, 35),
}
"""Index on `GRID` where HU rise towards the right (at the patient's left), left, front, back and head."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = tmp_path_factory.mktemp("totalsegmentator")
    store = ModelStore(folder / "models")
    store.import_file("totalsegmentator-lobes", nnunet_folder(folder))
    return store


@pytest.fixture(scope="module")
def segmenter(store: ModelStore) -> TotalSegmentatorLobes:
    return TotalSegmentatorLobes(store.require("totalsegmentator-lobes"), "cpu")


def ct_of(hu: np.ndarray, grid: Grid) -> CtVolume:
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    return CtVolume(
        np.ascontiguousarray(hu), grid, SeriesReference("1.2.7", "1.2.8", grid.frame_of_reference_uid, uids)
    )


def box() -> np.ndarray:
    hu = np.full(GRID.shape, -900.0, dtype=np.float32)
    hu[BOX] = 50.0
    return hu


@pytest.mark.parametrize(
    "flips",
    [(False, False, False), (True, False, True), (False, True, True)],
    ids=["HFS", "FFS", "HFP"],
)
def test_each_lobe_lies_where_hu_rise_towards_its_side_in_any_patient_position(
    segmenter: TotalSegmentatorLobes, flips: tuple[bool, bool, bool]
) -> None:
    encode = Reorientation((0, 1, 2), flips)
    grid = encode.grid(GRID)
    labels = segmenter.as_drawn(ct_of(encode.apply(box()), grid))
    for lobe, index in MIDDLE_OF_FACE.items():
        where = np.round(grid.to_index(GRID.to_patient_mm(np.array(index, dtype=np.float64)))).astype(int)
        assert labels[tuple(where)] == lobe, lobe
    inside = GRID.to_patient_mm(np.array([31.0, 37.0, 35.0]))
    assert labels[tuple(np.round(grid.to_index(inside)).astype(int))] == 0


def test_the_axes_of_the_plan_are_followed(tmp_path: Path) -> None:
    """nnU-Net may have trained with its axes in another order."""
    plans = {**PLANS, "transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
    ModelStore(tmp_path / "m").import_file("totalsegmentator-lobes", nnunet_folder(tmp_path, plans=plans))
    turned = TotalSegmentatorLobes(ModelStore(tmp_path / "m").require("totalsegmentator-lobes"), "cpu")
    labels = turned.as_drawn(ct_of(box(), GRID))
    # its first axis, along which HU rise for the right lower lobe, is now the one to the right
    assert labels[MIDDLE_OF_FACE[Lobe.RUL]] == Lobe.RLL
    assert labels[MIDDLE_OF_FACE[Lobe.RLL]] == Lobe.RML
    assert labels[MIDDLE_OF_FACE[Lobe.RML]] == Lobe.RUL


def test_every_lobe_has_one_class_of_the_published_network() -> None:
    assert sorted(LOBE_OF_TOTALSEGMENTATOR.values()) == sorted(Lobe)
    assert set(LOBE_OF_TOTALSEGMENTATOR) <= set(ORGANS)
    assert {name for name, _ in RISES_TOWARDS.values()} == set(LOBE_OF_TOTALSEGMENTATOR)
    for name, lobe in LOBE_OF_TOTALSEGMENTATOR.items():
        assert ("left" in name) == lobe.name.startswith("L")
        assert {"upper": "U", "middle": "M", "lower": "L"}[name.split("_")[1]] == lobe.name[1]


def test_it_is_a_lobe_segmenter_whose_way_of_running_is_recorded(segmenter: TotalSegmentatorLobes) -> None:
    assert isinstance(segmenter, LobeSegmenter)
    assert isinstance(segmenter, OnLadder)
    (way,) = segmenter.ladder()
    record = segmenter.on(way).record("")
    assert (record.network, record.device, record.precision) == ("totalsegmentator", "cpu", "float32")
    assert record.tile == (32, 32, 32)
    halved = segmenter.on(Execution("cuda", Rung.HALF_PRECISION)).record("OUT_OF_MEMORY")
    assert (halved.precision, halved.why, halved.numbers_differ) == ("float16", "OUT_OF_MEMORY", True)
    rungs = [way.rung for way in segmenter.on(Execution("cuda")).ladder()]
    assert rungs == [Rung.CONFIGURED, Rung.HALF_PRECISION, Rung.CPU]


def test_a_gpu_that_is_wanted_and_not_there_is_an_error(store: ModelStore) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ModelError, match="wants a GPU for TotalSegmentator"):
        TotalSegmentatorLobes(store.require("totalsegmentator-lobes"), "cuda")


def test_the_identity_names_data_set_and_weights(segmenter: TotalSegmentatorLobes, store: ModelStore) -> None:
    sha256 = store.require("totalsegmentator-lobes").sha256
    assert segmenter.identity.weights_sha256 == sha256
    assert segmenter.identity.version.endswith(f"+dataset291.{sha256[:8]}")
    assert len(segmenter.identity.label()) <= 64  # VR LO of Software Versions (PS3.5 section 6.2)


def test_a_ct_without_lungs_is_refused(segmenter: TotalSegmentatorLobes) -> None:
    alike = np.full(GRID.shape, -500.5, dtype=np.float32)  # the mean of the plan, once cut to whole numbers
    with pytest.raises(LungsNotFound):
        segmenter.segment(ct_of(alike, GRID))


def test_the_same_ct_gives_the_same_labels(segmenter: TotalSegmentatorLobes) -> None:
    first, second = (segmenter.segment(ct_of(box(), GRID)) for _ in range(2))
    assert np.array_equal(first.labels, second.labels)
    assert (first.grid, first.segmenter) == (GRID, segmenter.identity)


def test_memory_that_runs_out_is_said_as_such(segmenter: TotalSegmentatorLobes, store: ModelStore) -> None:
    import torch

    def full(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    other = TotalSegmentatorLobes(store.require("totalsegmentator-lobes"), "cpu")
    other._network.register_forward_pre_hook(full)
    with pytest.raises(OutOfMemory):
        climb_down(other, lambda engine: engine.segment(ct_of(box(), GRID)), Descent())


def test_without_weights_the_engine_says_what_to_fetch_and_how_to_import_it(tmp_path: Path) -> None:
    for settings in (
        EngineSettings(lobes="totalsegmentator"),
        EngineSettings(lobes="totalsegmentator", model_store=tmp_path / "none"),
    ):
        with pytest.raises(ModelNotFound) as caught:
            build_segmenter(settings)
        assert "Dataset291_TotalSegmentator_part1_organs_1559subj.zip" in caught.value.remedy
        assert "perfnode models import totalsegmentator-lobes" in caught.value.remedy
        assert "fetch totalsegmentator" not in caught.value.remedy
    assert not (tmp_path / "none").exists()


def test_build_segmenter_takes_the_weights_of_the_store(store: ModelStore) -> None:
    built = build_segmenter(EngineSettings(lobes="totalsegmentator", model_store=store.folder, device="cpu"))
    assert built.identity.weights_sha256 == store.require("totalsegmentator-lobes").sha256


@pytest.mark.parametrize("place", [20, -5], ids=["header", "tensor"])
def test_changed_bytes_are_never_read_as_a_network(tmp_path: Path, store: ModelStore, place: int) -> None:
    stored = store.require("totalsegmentator-lobes")
    content = bytearray(stored.path.read_bytes())
    content[place] ^= 1
    (tmp_path / "changed").write_bytes(content)
    with pytest.raises(StoredModelDamaged):
        TotalSegmentatorLobes(replace(stored, path=tmp_path / "changed"))


def test_segmenting_opens_no_connection_and_writes_nothing(tmp_path: Path, store: ModelStore) -> None:
    """Every connection, name looked up and file opened for writing; MONAI loads matplotlib, which has a cache."""
    program = f"""
import sys, os
seen = []
def hook(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        seen.append((event, str(arguments[:2])))
    if writes and os.devnull != str(arguments[0]) and not str(arguments[0]).startswith(os.environ["MPLCONFIGDIR"]):
        seen.append((event, str(arguments[:2])))
from pathlib import Path
import numpy as np
sys.addaudithook(hook)
from inference.engine import EngineSettings, build_segmenter
from tests.inference.totalsegmentator.test_totalseg_lobes import box, ct_of, GRID
segmenter = build_segmenter(EngineSettings(
    lobes="totalsegmentator", model_store=Path({str(store.folder)!r}), device="cpu"))
print(len(np.unique(segmenter.segment(ct_of(box(), GRID)).labels)), seen)
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "fonts"), "PATH": "/usr/bin:/bin"}
    environment |= {"PYTHONPATH": ".", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, env=environment)
    assert done.stdout.strip() == "6 []", done.stderr
    assert list(home.iterdir()) == []


def test_the_module_alone_loads_no_torch() -> None:
    loaded = "{'torch', 'monai', 'scipy'} & set(sys.modules)"
    program = f"import sys, inference.totalsegmentator.totalseg_lobes; assert not {loaded}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
