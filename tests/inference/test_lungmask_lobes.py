"""The real lungmask with stand-in weights: the right architecture, made to tell apart bands of HU.

All weights are zero but one path: HU pass through the first block and the topmost skip connection to the last layer,
whose scores are straight lines over HU. The line that is highest at a given HU names the class, so the answer is
known by construction and orientation can be followed through the whole chain.
"""

import hashlib
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.errors import LungsNotFound, ModelError, ModelNotFound
from inference.execution import Descent, Rung, climb_down
from inference.geometry import Grid, Reorientation
from inference.lungmask_lobes import LungmaskLobes, LungmaskSettings, import_lungmask, to_lobe_values
from inference.quality import Severity, check_execution
from inference.volumes import CtVolume, SeriesReference

TISSUE_HU = 100.0
HU_OF_LOBE = {Lobe.LUL: -1000.0, Lobe.LLL: -850.0, Lobe.RUL: -700.0, Lobe.RML: -550.0, Lobe.RLL: -400.0}
HU_OF_LTRCLOBES = (TISSUE_HU, *HU_OF_LOBE.values())
"""HU of background and of lungmask's labels 1 to 5: left upper, left lower, right upper, middle, lower."""
HU_OF_R231 = (TISSUE_HU, -550.0, -925.0)
"""HU of background, right and left: the middles of the bands above."""
GRID = Grid.axial((2, 256, 256), (60.0, 1.5, 1.5), (-190.0, -190.0, 0.0), frame_of_reference_uid="1.2.3")


def write_weights(path: Path, hu_of_class: tuple[float, ...]) -> Path:
    import_lungmask()
    import torch
    from lungmask.resunet import UNet

    network = UNet(n_classes=len(hu_of_class), padding=True, depth=5, up_mode="upsample", batch_norm=True)
    state = {
        name: value if "running" in name or name.endswith("tracked") else torch.zeros_like(value)
        for name, value in network.state_dict().items()
    }
    for block, first_input in (("down_path.0.block", 0), ("up_path.3.conv_block.block", 64)):
        state[f"{block}.0.weight"][0, first_input, 1, 1] = 1
        state[f"{block}.3.weight"][0, 0, 1, 1] = 1
        state[f"{block}.2.weight"][0] = 1
        state[f"{block}.5.weight"][0] = 1
    for label, hu in enumerate(hu_of_class):
        level = (hu + 1024) / 1624
        state["last.weight"][label, 0] = 2 * level
        state["last.bias"][label] = -(level**2)
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> LungmaskSettings:
    folder = tmp_path_factory.mktemp("weights")
    return LungmaskSettings(
        r231_weights=write_weights(folder / "r231.pth", HU_OF_R231),
        ltrclobes_weights=write_weights(folder / "ltrclobes.pth", HU_OF_LTRCLOBES),
        device="cpu",
    )


@pytest.fixture(scope="module")
def segmenter(settings: LungmaskSettings) -> LungmaskLobes:
    return LungmaskLobes(settings)


def truth() -> np.ndarray:
    """Five blocks that touch within each lung, smaller in slice 1, so that no flip leaves them where they are."""
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    for lobe, rows, columns in (
        (Lobe.RUL, slice(30, 90), slice(20, 110)),
        (Lobe.RML, slice(90, 150), slice(20, 110)),
        (Lobe.RLL, slice(150, 220), slice(20, 110)),
        (Lobe.LUL, slice(30, 130), slice(140, 225)),
        (Lobe.LLL, slice(130, 220), slice(140, 225)),
    ):
        labels[0, rows, columns] = lobe
        labels[1, rows.start : rows.stop - 20, columns.start : columns.stop - 10] = lobe
    return labels


def ct_of(labels: np.ndarray, grid: Grid) -> CtVolume:
    hu = np.full(labels.shape, TISSUE_HU, dtype=np.float32)
    for lobe, value in HU_OF_LOBE.items():
        hu[labels == lobe] = value
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    return CtVolume(hu, grid, SeriesReference("1.2.7", "1.2.8", grid.frame_of_reference_uid, uids))


@pytest.mark.parametrize(
    "flips", [(False, False, False), (True, False, True), (False, True, True)], ids=["HFS", "FFS", "HFP"]
)
def test_the_real_inferer_draws_each_lobe_under_our_label_in_any_patient_position(
    segmenter: LungmaskLobes, flips: tuple[bool, bool, bool]
) -> None:
    encode = Reorientation((0, 1, 2), flips)
    expected = np.ascontiguousarray(encode.apply(truth()))
    lobes = segmenter.segment(ct_of(expected, encode.grid(GRID)))
    for lobe in Lobe:
        found, wanted = lobes.mask(lobe), expected == lobe
        assert 2 * np.count_nonzero(found & wanted) > 0.96 * (np.count_nonzero(found) + np.count_nonzero(wanted))
    assert lobes.segmenter == segmenter.identity


def test_no_lung_is_said_in_words(segmenter: LungmaskLobes) -> None:
    with pytest.raises(LungsNotFound):
        segmenter.segment(ct_of(np.zeros(GRID.shape, dtype=np.uint8), GRID))


def test_the_identity_names_both_files_by_their_digests(segmenter: LungmaskLobes, settings: LungmaskSettings) -> None:
    assert settings.r231_weights is not None
    assert settings.ltrclobes_weights is not None
    r231 = hashlib.sha256(settings.r231_weights.read_bytes()).hexdigest()
    ltrclobes = hashlib.sha256(settings.ltrclobes_weights.read_bytes()).hexdigest()
    assert (segmenter.r231.sha256, segmenter.ltrclobes.sha256) == (r231, ltrclobes)
    assert segmenter.identity.version.endswith(f"+ltrclobes.{ltrclobes[:8]}.r231.{r231[:8]}")
    assert segmenter.identity.weights_sha256 == hashlib.sha256(f"{ltrclobes}\n{r231}".encode()).hexdigest()
    assert len(segmenter.identity.label()) <= 64  # VR LO of Software Versions (PS3.5 section 6.2)


def test_labels_outside_lungmasks_own_are_background() -> None:
    found = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    assert to_lobe_values(found).ravel().tolist() == [0, Lobe.LUL, Lobe.LLL, Lobe.RUL, Lobe.RML, Lobe.RLL, 0, 0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"absent\.pth of lungmask's R231 was not found"):
        LungmaskLobes(LungmaskSettings(r231_weights=tmp_path / "absent.pth"))


def test_without_file_and_without_internet_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the discard port: nobody answers
    with pytest.raises(ModelNotFound) as caught:
        LungmaskLobes(LungmaskSettings())
    assert "Fetch https://" in caught.value.remedy
    assert "atlas" in caught.value.remedy
    assert not list(tmp_path.rglob("*.pth"))


def test_swapped_files_are_noticed(settings: LungmaskSettings) -> None:
    swapped = replace(settings, r231_weights=settings.ltrclobes_weights, ltrclobes_weights=settings.r231_weights)
    with pytest.raises(ModelError, match="swapped"):
        LungmaskLobes(swapped)


def test_a_file_that_is_no_state_dict_is_refused(settings: LungmaskSettings, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not a network")
    with pytest.raises(ModelError, match="cannot be loaded"):
        LungmaskLobes(replace(settings, r231_weights=tmp_path / "text.pth"))


def test_lungmasks_import_leaves_warnings_and_standard_output_alone() -> None:
    program = (
        "import warnings; from inference.lungmask_lobes import import_lungmask; "
        "before = list(warnings.filters); import_lungmask(); "
        "import logging; logging.getLogger('lungmask').info('to standard output'); "
        "assert warnings.filters == before, warnings.filters; "
        "assert not logging.getLogger('lungmask').handlers"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_module_alone_does_not_load_torch() -> None:
    program = "import sys, inference.lungmask_lobes; assert not {'torch', 'lungmask'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_warnings_of_others_are_still_seen_after_a_segmenter_was_made(segmenter: LungmaskLobes) -> None:
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


def test_slices_that_do_not_fit_together_go_one_at_a_time(segmenter: LungmaskLobes, settings: LungmaskSettings) -> None:
    """The networks say of two slices what they would say of too many on a GPU."""
    import torch

    def full(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if len(given[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    both = LungmaskLobes(replace(settings, batch_size=2))
    both._inferer.model.register_forward_pre_hook(full)
    assert [execution.rung for execution in both.ladder()] == [Rung.CONFIGURED, Rung.SMALLER_TILES]
    ct = ct_of(truth(), GRID)
    lobes, (record,) = climb_down(both, lambda engine: engine.segment(ct), Descent())
    assert (record.tile, record.rung, record.why) == ((1,), "smaller-tiles", "OUT_OF_MEMORY")
    assert not record.numbers_differ
    (finding,) = check_execution((record,))
    assert finding.severity is Severity.NOTE
    assert 2 * np.count_nonzero((lobes.labels == truth()) & lobes.lungs) > 1.92 * np.count_nonzero(lobes.lungs)
    assert [execution.rung for execution in segmenter.ladder()] == [Rung.CONFIGURED]  # its batch cannot be smaller
