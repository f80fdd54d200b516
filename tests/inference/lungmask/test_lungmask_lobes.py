"""The real lungmask with stand-in weights, beside lungmask's own `LMInferer` with the same.

With weights that tell apart bands of HU the answer is known by construction, and orientation can be followed through
the whole chain; on noise, everything that lungmask does to labels has work to do.
"""

import hashlib
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from inference.anatomy import Lobe
from inference.engine import EngineSettings
from inference.errors import LungsNotFound, ModelError
from inference.execution import Descent, Rung, climb_down
from inference.geometry import Grid, Reorientation
from inference.lungmask.lungmask_lobes import LungmaskLobes, LungmaskSettings, to_lobe_values
from inference.lungmask.networks import Pace, SliceNetwork
from inference.quality.checks import Severity, check_execution
from inference.volumes import CtVolume, SeriesReference
from inference.weights.lungmask_package import import_lungmask
from tests.lungmask_standins import bands, save

TISSUE_HU = 100.0
HU_OF_LOBE = {Lobe.LUL: -1000.0, Lobe.LLL: -850.0, Lobe.RUL: -700.0, Lobe.RML: -550.0, Lobe.RLL: -400.0}
HU_OF_LTRCLOBES = (TISSUE_HU, *HU_OF_LOBE.values())
"""HU of background and of lungmask's labels 1 to 5: left upper, left lower, right upper, middle, lower."""
HU_OF_R231 = (TISSUE_HU, -550.0, -925.0)
"""HU of background, right and left: the middles of the bands above."""
GRID = Grid.axial((2, 256, 256), (60.0, 1.5, 1.5), (-190.0, -190.0, 0.0), frame_of_reference_uid="1.2.3")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> LungmaskSettings:
    folder = tmp_path_factory.mktemp("weights")
    return LungmaskSettings(
        r231_weights=save(bands(HU_OF_R231), folder / "r231.pth"),
        ltrclobes_weights=save(bands(HU_OF_LTRCLOBES), folder / "ltrclobes.pth"),
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
        "import warnings; from inference.weights.lungmask_package import import_lungmask; "
        "before = list(warnings.filters); import_lungmask(); "
        "import logging; logging.getLogger('lungmask').info('to standard output'); "
        "assert warnings.filters == before, warnings.filters; "
        "assert not logging.getLogger('lungmask').handlers"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_module_alone_does_not_load_torch() -> None:
    program = "import sys, inference.lungmask.lungmask_lobes; assert not {'torch', 'lungmask'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_warnings_of_others_are_still_seen_after_a_segmenter_was_made(segmenter: LungmaskLobes) -> None:
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


def test_slices_that_do_not_fit_together_go_one_at_a_time(segmenter: LungmaskLobes, settings: LungmaskSettings) -> None:
    """A network says of two slices what it would say of too many on a GPU."""

    class Small(SliceNetwork):
        def scores(self, slices: torch.Tensor, pace: Pace) -> torch.Tensor:
            if len(slices) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().scores(slices, pace)

    both = LungmaskLobes(replace(settings, batch_size=2))
    both._lung_network = Small("R231", both.r231)
    assert [execution.rung for execution in both.ladder()] == [Rung.CONFIGURED, Rung.SMALLER_TILES]
    ct = ct_of(truth(), GRID)
    lobes, (record,) = climb_down(both, lambda engine: engine.segment(ct), Descent())
    assert (record.tile, record.rung, record.why) == ((1,), "smaller-tiles", "OUT_OF_MEMORY")
    assert not record.numbers_differ
    (finding,) = check_execution((record,))
    assert finding.severity is Severity.NOTE
    assert 2 * np.count_nonzero((lobes.labels == truth()) & lobes.lungs) > 1.92 * np.count_nonzero(lobes.lungs)
    assert [execution.rung for execution in segmenter.ladder()] == [Rung.CONFIGURED]  # its batch cannot be smaller


def stock(settings: LungmaskSettings, hu: np.ndarray) -> np.ndarray:
    """What lungmask itself finds, run as its documentation says."""
    inferer = import_lungmask().LMInferer(
        modelname="LTRCLobes",
        modelpath=str(settings.ltrclobes_weights),
        fillmodel="R231",
        fillmodel_path=str(settings.r231_weights),
        force_cpu=True,
        tqdm_disable=True,
    )
    found: np.ndarray = inferer.apply(hu)
    return found


def test_labels_of_noise_are_lungmasks_own(tmp_path: Path) -> None:
    """Hundreds of parts with holes and of every label, on which the two networks disagree.

    HU are whole numbers and borders between classes lie half-way between two of them; no HU is that of a body, so
    slices are seen whole and HU stay what they are. No pixel can fall on the other side by rounding.
    """
    settings = LungmaskSettings(
        r231_weights=save(bands((-530.0, -761.0, -920.0)), tmp_path / "r231.pth"),
        ltrclobes_weights=save(bands((-530.0, -1001.0, -920.0, -841.0, -760.0, -681.0)), tmp_path / "ltrclobes.pth"),
        device="cpu",
    )
    random = np.random.default_rng(0)
    field = ndimage.gaussian_filter(random.standard_normal((3, 256, 256)), (0.4, 4, 4))
    hu = np.rint(np.clip(-700 + 130 * field / field.std(), -1024, -505)).astype(np.float32)
    expected = stock(settings, hu)
    assert len(np.unique(expected)) == 6
    ours = LungmaskLobes(settings)
    np.testing.assert_array_equal(ours.found(hu), expected)
    np.testing.assert_array_equal(ours.found(hu), expected)  # and again


@pytest.fixture(scope="module")
def bowel() -> np.ndarray:
    """Lobes in the first slice; in the last, something that LTRCLobes takes for right lower lobe and R231 does not."""
    hu = np.full((3, 256, 256), TISSUE_HU, dtype=np.float32)
    hu[0] = ct_of(truth(), GRID).hu[0]
    hu[2, 20:230, 20:230] = -200
    return hu


def test_what_the_lobe_network_sees_without_lung_counts_as_in_lungmask(
    settings: LungmaskSettings, segmenter: LungmaskLobes, bowel: np.ndarray
) -> None:
    """So `exact` may not leave out slices: here lungmask gives the true lobe away, since the bowel is larger."""
    expected = stock(settings, bowel)
    assert 5 not in expected
    np.testing.assert_array_equal(segmenter.found(bowel), expected)
    assert 5 in LungmaskLobes(replace(settings, precision="fast")).found(bowel)


def test_fast_mode_is_said_in_the_result(settings: LungmaskSettings, segmenter: LungmaskLobes) -> None:
    fast = LungmaskLobes(replace(settings, precision="fast"))
    assert "reduced precision (fast 2)" in fast.identity.caveat
    assert segmenter.identity.caveat == ""
    assert replace(fast.identity, caveat="") == segmenter.identity
    ct = ct_of(truth(), GRID)
    lobes, (record,) = climb_down(fast, lambda engine: engine.segment(ct), Descent())
    assert record.numbers_differ
    assert record.precision in ("bfloat16", "float32")  # as the CPU has it
    assert segmenter.record("").precision == "float32"
    assert not segmenter.record("").numbers_differ
    assert lobes.segmenter.caveat == fast.identity.caveat
    assert 2 * np.count_nonzero((lobes.labels == truth()) & lobes.lungs) > 1.92 * np.count_nonzero(lobes.lungs)


def test_settings_that_change_labels_change_the_digest() -> None:
    exact = EngineSettings(lobes="lungmask")
    assert replace(exact, lungmask_precision="fast").settings_digest() != exact.settings_digest()
    assert replace(exact, lungmask_batch_size=4).settings_digest() == exact.settings_digest()
    atlas = EngineSettings()
    assert replace(atlas, lungmask_precision="fast").settings_digest() == atlas.settings_digest()
