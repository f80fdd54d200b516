"""From a CT to a result: the inference path from top to bottom.

    CtVolume ── lobes ──▶ LobeMap ── perfusion ──▶ PerfusionMap ── rule ──▶ FunctionRegions ── lobes ──▶ lobar table
                            │                         │
                            └──────── quality ────────┴──▶ findings; a rejecting one ends the run

Two lobe engines and two perfusion engines stand behind small protocols (`lobes`, `perfusion`). Models are loaded once,
in `build_engine`; `run` may then be called for many patients and keeps nothing of them. torch and the like are
imported only for an engine that needs them.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from inference.errors import ImplausibleResult, ModelNotFound
from inference.exclusion import Exclusion, exclude
from inference.function_regions import DEFAULT_RULE, find_function_regions
from inference.lobar import lobar_perfusion
from inference.lobes import LobeSegmenter
from inference.perfusion import PerfusionModel
from inference.quality import Finding, Severity, check_ct_and_lobes, check_map
from inference.volumes import (
    CtVolume,
    FunctionRegions,
    FunctionRule,
    LobarTable,
    LobeMap,
    PerfusionMap,
    SeriesReference,
)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engines work, with which files, and how the map is cut."""

    lobes: Literal["atlas", "lungmask"] = "atlas"
    """`atlas` needs no weights and is approximate; `lungmask` is learned and needs weights."""
    r231_weights: Path | None = None
    """lungmask's lung network; None lets lungmask look for its own copy."""
    ltrclobes_weights: Path | None = None
    """lungmask's lobe network; None lets lungmask look for its own copy."""
    lungmask_batch_size: int = 1
    """Slices per step of lungmask; more is slower on a CPU and takes more memory."""
    perfusion: Literal["densitometric", "network"] = "densitometric"
    """`densitometric` is the baseline without weights; `network` is a trained one from `model_folder`."""
    model_folder: Path | None = None
    """Folder with `model_card.json` and `weights.safetensors`; for `network`."""
    function_rule: FunctionRule = DEFAULT_RULE
    """How high- and low-functional lung are cut."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; `auto` takes a GPU when there is one."""

    def settings_digest(self) -> str:
        """SHA-256 of the choices that shape a result, as canonical JSON; UIDs of the objects derive from it.

        Where files lie, the batch size and the device are left out: moving a model folder must not make a second,
        different result of the same CT. Which weights were used is said by the identities of lobes and map.
        """
        choices = {"lobes": self.lobes, "perfusion": self.perfusion, "function_rule": asdict(self.function_rule)}
        text = json.dumps(choices, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class PerfusionResult:
    """Everything that one CT gave. All volumes lie on the grid of the CT."""

    source: SeriesReference
    lobes: LobeMap
    perfusion: PerfusionMap
    regions: FunctionRegions
    lobar: LobarTable
    findings: tuple[Finding, ...]
    """What a reader must know; none of them rejecting."""
    excluded_sha256: str = ""
    """Digest of the structures that were to be taken out of the regions; empty where none were asked for."""


@dataclass(frozen=True, slots=True)
class PerfusionEngine:
    """Loaded models, ready for any number of patients."""

    lobes: LobeSegmenter
    perfusion: PerfusionModel
    function_rule: FunctionRule

    def run(
        self, ct: CtVolume, progress: Progress = lambda step: None, exclusion: Exclusion | None = None
    ) -> PerfusionResult:
        """Segment, predict, cut, tabulate, and check on the way.

        Args:
            ct: the planning CT.
            progress: called with a short text before each step.
            exclusion: structures that do not belong to high- and low-functional lung.

        Raises:
            ImplausibleAnatomy: no lungs, an incomplete set of lobes, or a check that forbids sending a result.
        """
        progress("finding lungs and lobes")
        lobes = self.lobes.segment(ct)
        before = _stop_at_rejection(check_ct_and_lobes(ct, lobes))
        progress("predicting perfusion")
        perfusion = self.perfusion.predict(ct, lobes)
        after = _stop_at_rejection(check_map(perfusion))
        progress("finding high- and low-functional lung")
        regions = find_function_regions(perfusion, self.function_rule)
        excluded: tuple[Finding, ...] = ()
        if exclusion is not None:
            regions, excluded = exclude(regions, exclusion)
        lobar = lobar_perfusion(perfusion, lobes, regions)
        digest = "" if exclusion is None else exclusion.sha256()
        return PerfusionResult(ct.source, lobes, perfusion, regions, lobar, before + after + excluded, digest)


def build_engine(settings: EngineSettings) -> PerfusionEngine:
    """Load the models that the settings name.

    Raises:
        ModelError: one of them cannot be used; each leaf says why and what to do.
    """
    return PerfusionEngine(_lobe_segmenter(settings), _perfusion_model(settings), settings.function_rule)


def _lobe_segmenter(settings: EngineSettings) -> LobeSegmenter:
    if settings.lobes == "lungmask":
        from inference.lungmask_lobes import LungmaskLobes, LungmaskSettings

        return LungmaskLobes(
            LungmaskSettings(
                r231_weights=settings.r231_weights,
                ltrclobes_weights=settings.ltrclobes_weights,
                batch_size=settings.lungmask_batch_size,
                device=settings.device,
            )
        )
    from inference.atlas_lobes import AtlasLobes

    return AtlasLobes()


def _perfusion_model(settings: EngineSettings) -> PerfusionModel:
    if settings.perfusion == "network":
        if settings.model_folder is None:
            raise ModelNotFound("A perfusion model", "Name its folder as model_folder, or choose densitometric.")
        from inference.network_perfusion import NetworkPerfusion

        return NetworkPerfusion.load(settings.model_folder, device=settings.device)
    from inference.densitometric import DensitometricBaseline

    return DensitometricBaseline()


def _stop_at_rejection(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    reasons = {finding.code: finding.sentence for finding in findings if finding.severity is Severity.REJECT}
    if reasons:
        raise ImplausibleResult(reasons)
    return findings
