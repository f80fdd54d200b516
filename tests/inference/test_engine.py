import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.densitometric import DensitometricBaseline
from inference.engine import EngineSettings, PerfusionEngine, build_engine
from inference.errors import CheckpointMismatch, ImplausibleAnatomy, ImplausibleResult, ModelNotFound
from inference.function_regions import DEFAULT_RULE, RULES
from inference.geometry import Grid
from inference.model_card import WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.phantom.thorax import DigitalThorax, ThoraxVariant, draw_thorax
from inference.quality.findings import Severity
from inference.quality.policy import QualityPolicy
from inference.volumes import CtVolume, LobeMap

GRID = Grid.axial((56, 64, 72), (5.0, 5.0, 5.0), (-178.0, -150.0, -152.0), frame_of_reference_uid="1.2.3")


@pytest.fixture(scope="module")
def thorax() -> DigitalThorax:
    return draw_thorax(GRID)


@dataclass(frozen=True)
class DrawnLobes:
    """A segmenter that knows the answer, so that these tests are about the engine alone."""

    lobes: LobeMap

    @property
    def identity(self) -> ModelIdentity:
        return self.lobes.segmenter

    def segment(self, ct: CtVolume) -> LobeMap:
        return self.lobes


def engine_for(thorax: DigitalThorax) -> PerfusionEngine:
    return PerfusionEngine(DrawnLobes(thorax.lobes), DensitometricBaseline(), DEFAULT_RULE)


def test_a_ct_becomes_a_complete_result_on_its_own_grid(thorax: DigitalThorax) -> None:
    steps: list[str] = []
    result = engine_for(thorax).run(thorax.ct, progress=steps.append)
    assert result.source == thorax.ct.source
    for volume in (result.lobes, result.perfusion, result.regions):
        assert volume.grid.matches(thorax.ct.grid)
    assert list(result.lobar) == list(Lobe)
    assert sum(row.perfusion_fraction for row in result.lobar.values()) == pytest.approx(1.0)
    assert result.regions.rule == DEFAULT_RULE
    assert not (result.regions.high & thorax.low_region).any()
    assert len(steps) == len(set(steps)) == 3


def test_the_same_ct_gives_the_same_bytes(thorax: DigitalThorax) -> None:
    first, second = (engine_for(thorax).run(thorax.ct) for _ in range(2))
    assert first.perfusion.values.tobytes() == second.perfusion.values.tobytes()
    assert first.regions.high.tobytes() == second.regions.high.tobytes()
    assert (first.lobar, first.findings) == (second.lobar, second.findings)


def test_a_truncated_thorax_gives_no_result_and_all_reasons() -> None:
    thorax = draw_thorax(GRID, variant=ThoraxVariant.TRUNCATED)
    with pytest.raises(ImplausibleResult) as refused:
        engine_for(thorax).run(thorax.ct)
    assert {"LUNG_TOUCHES_TOP", "LUNG_TOUCHES_BOTTOM"} <= set(refused.value.reasons)
    assert "top face" in str(refused.value)


def test_findings_that_do_not_reject_travel_with_the_result(thorax: DigitalThorax) -> None:
    denser = np.where(thorax.lobes.lungs, thorax.ct.hu + 320.0, thorax.ct.hu).astype(np.float32)
    result = engine_for(thorax).run(replace(thorax.ct, hu=denser))
    flags = {finding.code for finding in result.findings if finding.severity is Severity.FLAG}
    assert "LUNG_DENSITY" in flags


def test_a_site_may_take_a_rejecting_finding_as_a_flag_that_says_so() -> None:
    thorax = draw_thorax(GRID, variant=ThoraxVariant.TRUNCATED)
    codes = ("LUNG_TOUCHES_TOP", "LUNG_TOUCHES_BOTTOM")
    engine = replace(engine_for(thorax), quality=QualityPolicy.of(dict.fromkeys(codes, Severity.FLAG), {}))
    found = {finding.code: finding for finding in engine.run(thorax.ct).findings}
    for code in codes:
        assert found[code].severity is Severity.FLAG
        assert found[code].sentence.endswith("This site takes it as a flag instead of a rejection.")


def test_all_sentences_of_a_code_that_several_lobes_have_are_in_the_reason(thorax: DigitalThorax) -> None:
    labels = thorax.lobes.labels.copy()
    for upper, lower in ((Lobe.RUL, Lobe.RLL), (Lobe.LUL, Lobe.LLL)):
        labels[thorax.lobes.mask(upper)], labels[thorax.lobes.mask(lower)] = lower, upper
    engine = PerfusionEngine(DrawnLobes(replace(thorax.lobes, labels=labels)), DensitometricBaseline(), DEFAULT_RULE)
    with pytest.raises(ImplausibleResult) as refused:
        engine.run(thorax.ct)
    assert "RUL lies" in refused.value.reasons["LOBE_ORDER"]
    assert "LUL lies" in refused.value.reasons["LOBE_ORDER"]


def test_the_baseline_needs_no_weights_and_finds_the_poorly_perfused_region() -> None:
    thorax = draw_thorax()
    engine = build_engine(EngineSettings(perfusion="densitometric"))
    result = engine.run(thorax.ct)
    region = thorax.low_region & result.lobes.lungs
    assert result.perfusion.values[region].mean() < 0.6
    assert (result.regions.low & region).sum() > 0.9 * region.sum()
    assert result.perfusion.model == DensitometricBaseline.identity
    with pytest.raises(ImplausibleAnatomy):
        engine.run(draw_thorax(variant=ThoraxVariant.NO_LUNGS).ct)


def test_a_model_folder_makes_a_network_engine_and_a_tampered_one_none(tmp_path: Path) -> None:
    from inference.checkpoint import save_model
    from inference.networks import build_network

    card = ModelCard(
        identity=ModelIdentity("tiny", "0"),
        network="UNet",
        network_arguments={"channels": [4, 8], "strides": [2]},
        input_spacing_mm=(6.0, 6.0, 6.0),
        hu_window=(-1000.0, 0.0),
        window_size=(32, 32, 32),
        trained_on="Nothing.",
        intended_use="Tests.",
    )
    written = save_model(tmp_path, build_network(card))
    settings = EngineSettings(perfusion="network", model_folder=tmp_path, device="cpu")
    assert build_engine(settings).perfusion.identity == written.identity
    (tmp_path / WEIGHTS_FILE).write_bytes(b"")
    with pytest.raises(CheckpointMismatch):
        build_engine(settings)


def test_a_network_engine_without_a_folder_says_what_to_do() -> None:
    with pytest.raises(ModelNotFound, match="model_folder"):
        build_engine(EngineSettings(perfusion="network"))


def test_the_digest_changes_with_what_shapes_a_result_and_with_nothing_else() -> None:
    plain = EngineSettings(perfusion="densitometric")
    same = (
        replace(plain, device="cpu"),
        replace(plain, model_folder=Path("elsewhere")),
        replace(plain, lungmask_batch_size=8),
        EngineSettings(perfusion="densitometric"),
    )
    other = (
        replace(plain, lobes="lungmask"),
        replace(plain, perfusion="network"),
        replace(plain, function_rule=RULES["quartiles"]),
        replace(plain, function_rule=replace(DEFAULT_RULE, smallest_hole_ml=0.3)),
        replace(plain, quality=QualityPolicy.of({"RML_SHARE": Severity.NOTE}, {})),
    )
    assert {settings.settings_digest() for settings in same} == {plain.settings_digest()}
    assert len({settings.settings_digest() for settings in (plain, *other)}) == 6


def test_the_digest_is_the_same_in_every_process() -> None:
    """Pinned: a new value gives every result new UIDs, which must be meant."""
    baseline = EngineSettings(perfusion="densitometric")
    assert baseline.settings_digest() == "68b2a16b96afd01d395db1b00e25d486a327eea018abb511e8c250d8bed6585b"


def test_importing_and_building_the_baseline_loads_no_network_library() -> None:
    program = (
        "import sys, json; from inference.engine import EngineSettings, build_engine; "
        "build_engine(EngineSettings(perfusion='densitometric'));"
        "print(json.dumps([name for name in ('torch', 'monai', 'lungmask') if name in sys.modules]))"
    )
    root = Path(__file__).parents[2]
    finished = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(finished.stdout) == []
