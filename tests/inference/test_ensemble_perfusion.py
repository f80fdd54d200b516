import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inference.densitometric import DensitometricBaseline
from inference.domain import input_statistics
from inference.engine import FoundLobes, PerfusionResult, perfuse
from inference.ensemble_perfusion import FINGERPRINT_FILE, INTERVAL_FILE, EnsemblePerfusion
from inference.errors import GridMismatch, ImplausibleResult, InvalidModelCard, OutOfMemory
from inference.execution import OnLadder
from inference.fingerprint import Fingerprint, UsualRange
from inference.function_regions import DEFAULT_RULE
from inference.model_card import ModelCard, ModelIdentity
from inference.models.bundle import read_bundle
from inference.models.signature import PUBLIC_SUFFIX, read_trusted_keys
from inference.network_perfusion import NetworkPerfusion
from inference.networks import PerfusionNetwork
from inference.perfusion import PerfusionModel
from inference.phantom.thorax import DigitalThorax
from inference.quality.findings import Severity
from inference.uncertainty import REGIONS, ConformalInterval
from inference.volumes import LobeMap
from tests.stand_in_models import stand_in_bundle, stand_in_card, stand_in_files, stand_in_key

IDENTITY = ModelIdentity("three-folds", "1", weights_sha256="a" * 64, caveat="Random weights.")


class Says(nn.Module):
    """A body that answers with a weighted sum of its channels; softplus leaves what is well above 0 nearly as it is."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        return sum(10.0 * weight * channels[:, k : k + 1] for k, weight in enumerate(self.weights)) + 5.0


class FullAbove(Says):
    """The same, for which a window of more voxels than this is too much, as torch says it of a GPU."""

    def __init__(self, voxels: int) -> None:
        super().__init__(1.0)
        self.voxels = voxels

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        if channels[0, 0].numel() > self.voxels:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(channels)


def network(body: nn.Module, card: ModelCard | None = None) -> PerfusionNetwork:
    return PerfusionNetwork(card or stand_in_card(), body)


def ensemble(*bodies: nn.Module, **calibrated: object) -> EnsemblePerfusion:
    return EnsemblePerfusion(IDENTITY, [network(body) for body in bodies], device="cpu", **calibrated)  # type: ignore[arg-type]


def interval(members: int, usual_spread: float = 0.5) -> ConformalInterval:
    width = (0.1,) * members
    return ConformalInterval(0.9, 0.9, (11,) * members, width, dict.fromkeys(REGIONS, width), usual_spread, "Nobody.")


def fingerprint(thorax: DigitalThorax, **far: float) -> Fingerprint:
    """Of patients like this thorax; the named statistics are that many times as large there."""
    ranges = {}
    for name, value in input_statistics(thorax.ct, thorax.lobes).items():
        middle = value * far.get(name, 1.0)
        ranges[name] = UsualRange(middle, middle - abs(middle) / 4 - 1.0, middle + abs(middle) / 4 + 1.0, "1")
    return Fingerprint(ranges, 1.0, 0.02, 33, "Thoraxes of one kind.")


def perfused(thorax: DigitalThorax, model: PerfusionModel) -> PerfusionResult:
    return perfuse(thorax.ct, FoundLobes(thorax.lobes, ()), model, DEFAULT_RULE)


def codes(result: PerfusionResult) -> set[str]:
    return {finding.code for finding in result.findings}


def test_an_ensemble_is_a_perfusion_model_on_the_ladder() -> None:
    engine = ensemble(Says(1.0))
    assert isinstance(engine, PerfusionModel)
    assert isinstance(engine, OnLadder)
    assert engine.identity == IDENTITY


def test_equal_members_give_their_own_map_and_no_spread(thorax: DigitalThorax) -> None:
    alone = NetworkPerfusion(network(Says(1.0)), device="cpu").predict(thorax.ct, thorax.lobes)
    together = ensemble(Says(1.0), Says(1.0)).predict(thorax.ct, thorax.lobes)
    np.testing.assert_allclose(together.values, alone.values, atol=1e-5)
    assert together.uncertainty is not None
    assert together.uncertainty.mean_spread == pytest.approx(0.0, abs=1e-6)
    assert together.model == IDENTITY


def test_the_map_is_the_mean_of_the_members_each_by_its_own_lung_mean(thorax: DigitalThorax) -> None:
    """One member answers ten times as loud; it counts no more than the other."""
    quiet, loud = Says(1.0), Says(-50.0, 60.0)
    maps = [
        NetworkPerfusion(network(body), device="cpu").predict(thorax.ct, thorax.lobes).values for body in (quiet, loud)
    ]
    found = ensemble(quiet, loud).predict(thorax.ct, thorax.lobes)
    inside = thorax.lobes.lungs
    np.testing.assert_allclose(found.values[inside], np.mean(maps, axis=0)[inside], atol=0.06)
    assert np.corrcoef(found.values[inside], np.mean(maps, axis=0)[inside])[0, 1] > 0.999
    assert found.uncertainty is not None
    assert found.uncertainty.grid.spacing_mm == pytest.approx((8.0, 8.0, 8.0))


def test_every_region_has_a_spread_and_with_an_interval_a_range(thorax: DigitalThorax) -> None:
    found = ensemble(Says(1.0), Says(-5.0, 6.0), interval=interval(2)).predict(thorax.ct, thorax.lobes).uncertainty
    assert found is not None
    assert set(found.regions) == set(REGIONS)
    for region in found.regions.values():
        reach = region.spread / np.sqrt(2.0) + 0.1  # half the difference of two, and the half-width
        assert (region.below, region.above) == pytest.approx((reach, reach), rel=1e-4)


def test_members_that_disagree_more_than_is_usual_are_a_flag(thorax: DigitalThorax) -> None:
    bodies = Says(1.0), Says(-5.0, 6.0)
    usual = perfused(thorax, ensemble(*bodies, interval=interval(2, usual_spread=0.5)))
    assert "MEMBERS_DISAGREE" not in codes(usual)
    (finding,) = (
        finding
        for finding in perfused(thorax, ensemble(*bodies, interval=interval(2, usual_spread=0.01))).findings
        if finding.code == "MEMBERS_DISAGREE"
    )
    assert finding.severity is Severity.FLAG
    assert usual.perfusion.uncertainty is not None
    assert finding.measured == pytest.approx(usual.perfusion.uncertainty.mean_spread / 0.01)
    assert (finding.limit, finding.unit) == (1.5, "1")


def test_a_ct_like_those_of_the_training_is_no_finding(thorax: DigitalThorax) -> None:
    result = perfused(thorax, ensemble(Says(1.0), fingerprint=fingerprint(thorax)))
    assert "OUT_OF_DOMAIN" not in codes(result)
    assert result.perfusion.domain is not None
    assert result.perfusion.domain.score == pytest.approx(0.0, abs=1e-9)


def test_a_ct_unlike_those_of_the_training_is_a_flag_that_says_why(thorax: DigitalThorax) -> None:
    result = perfused(thorax, ensemble(Says(1.0), fingerprint=fingerprint(thorax, noise=0.01, slice_spacing=0.5)))
    (finding,) = (finding for finding in result.findings if finding.code == "OUT_OF_DOMAIN")
    assert finding.severity is Severity.FLAG
    assert finding.measured > finding.limit == 1.0
    assert finding.sentence.isascii()
    assert "slice spacing 6" in finding.sentence
    assert "Thoraxes of one kind" in finding.sentence


def test_engines_without_members_and_training_have_nothing_to_say(thorax: DigitalThorax) -> None:
    result = perfused(thorax, DensitometricBaseline())
    assert result.perfusion.uncertainty is None
    assert result.perfusion.domain is None
    assert not codes(result) & {"OUT_OF_DOMAIN", "MEMBERS_DISAGREE"}


def test_uncertainty_and_distance_are_part_of_the_digest_of_a_result(thorax: DigitalThorax) -> None:
    results = [
        perfused(thorax, ensemble(Says(1.0))),
        perfused(thorax, ensemble(Says(1.0), interval=interval(1))),
        perfused(thorax, ensemble(Says(1.0), fingerprint=fingerprint(thorax))),
    ]
    assert len({result.content_sha256() for result in results}) == 3


def test_all_members_go_down_the_ladder_together(thorax: DigitalThorax) -> None:
    result = perfused(thorax, ensemble(Says(1.0), FullAbove(16**3)))
    (record,) = result.execution
    assert (record.network, record.tile, record.rung) == ("three-folds", (16, 16, 16), "smaller-tiles")
    assert record.numbers_differ
    usual = perfused(thorax, ensemble(Says(1.0), Says(1.0)))
    np.testing.assert_allclose(result.perfusion.values, usual.perfusion.values, atol=0.02)


def test_an_ensemble_that_fits_no_window_runs_out_of_memory(thorax: DigitalThorax) -> None:
    with pytest.raises(OutOfMemory):
        perfused(thorax, ensemble(Says(1.0), FullAbove(10)))


def test_one_member_that_says_nan_is_refused(thorax: DigitalThorax) -> None:
    with pytest.raises(ImplausibleResult):
        ensemble(Says(1.0), Says(float("nan"))).predict(thorax.ct, thorax.lobes)


def test_members_that_are_shown_different_things_are_refused() -> None:
    with pytest.raises(InvalidModelCard, match="shown the same"):
        EnsemblePerfusion(IDENTITY, [network(Says(1.0)), network(Says(1.0), stand_in_card(window=16))])
    with pytest.raises(InvalidModelCard, match="shown the same"):
        EnsemblePerfusion(IDENTITY, [])
    with pytest.raises(InvalidModelCard, match="of 3 members"):
        ensemble(Says(1.0), interval=interval(3))


def test_lobes_of_another_grid_are_a_bug_that_shows(thorax: DigitalThorax) -> None:
    slices, rows, columns = thorax.ct.grid.shape
    grid = thorax.ct.grid.cropped((slice(0, slices), slice(0, rows), slice(0, columns - 1)))
    lobes = LobeMap(thorax.lobes.labels[..., :-1].copy(), grid, thorax.lobes.segmenter)
    with pytest.raises(GridMismatch):
        ensemble(Says(1.0)).predict(thorax.ct, lobes)


def test_a_bundle_gives_its_members_with_what_was_calibrated(thorax: DigitalThorax, tmp_path: Path) -> None:
    calibrated = {INTERVAL_FILE: interval(2).document(), FINGERPRINT_FILE: fingerprint(thorax).document()}
    files = stand_in_files(members=2) | {path: json.dumps(each).encode() for path, each in calibrated.items()}
    key = stand_in_key(tmp_path)
    stand_in_bundle(tmp_path / "model", key, files)
    bundle = read_bundle(tmp_path / "model", read_trusted_keys([Path(f"{key}{PUBLIC_SUFFIX}")]))
    found = EnsemblePerfusion.of(bundle, device="cpu").predict(thorax.ct, thorax.lobes)
    assert found.model == bundle.identity
    assert found.domain is not None
    assert found.uncertainty is not None
    assert found.uncertainty.interval is not None
    assert found.uncertainty.interval.document() == interval(2).document()


def test_equal_input_gives_equal_output(thorax: DigitalThorax) -> None:
    engine = ensemble(Says(1.0), Says(-5.0, 6.0), interval=interval(2), fingerprint=fingerprint(thorax))
    first, second = (perfused(thorax, engine).content_sha256() for _ in range(2))
    assert first == second
