"""From a CT to a result: the inference path from top to bottom.

    CtVolume ── lobes ──▶ LobeMap ── perfusion ──▶ PerfusionMap ── rule ──▶ FunctionRegions ── lobes ──▶ lobar table
                            │                         │
                            └──────── quality ────────┴──▶ findings; a rejecting one ends the run
    └──────── segment ────────┘└────────────────────────── perfuse ──────────────────────────────────────────────┘

Lobe engines and perfusion engines stand behind small protocols (`lobes`, `perfusion`). `segment` and `perfuse` are two
halves with a model each, so that each can run in a process of its own and a network that dies takes no lobes with it;
`run` is both. Models are loaded once and may then be used for many patients; nothing of them is kept. torch and the
like are imported only for an engine that needs them. Where memory is short a network runs in another way
(`execution`), and the result says so.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from inference.errors import ImplausibleResult, ModelNotFound
from inference.exclusion import Exclusion, exclude
from inference.execution import Descent, ExecutionRecord, Rung, climb_down
from inference.function_regions import DEFAULT_RULE, find_function_regions
from inference.lobar import lobar_perfusion
from inference.lobes import LobeSegmenter
from inference.perfusion import PerfusionModel
from inference.quality.checks import (
    BY_THE_TABLE,
    Finding,
    QualityPolicy,
    Severity,
    check_ct_and_lobes,
    check_execution,
    check_map,
    check_regions,
)
from inference.volumes import (
    CtVolume,
    FunctionRegions,
    FunctionRule,
    LobarTable,
    LobeMap,
    PerfusionMap,
    SeriesReference,
)
from inference.weights.model_store import ModelStore
from inference.weights.published_weights import TOTALSEGMENTATOR_LOBES

Progress = Callable[[str], None]
FROM_THE_TOP = Descent()


def _silent(step: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which engines work, with which files, and how the map is cut."""

    lobes: Literal["atlas", "lungmask", "totalsegmentator"] = "atlas"
    """`atlas` needs no weights and is approximate; the others are learned and need weights."""
    r231_weights: Path | None = None
    """lungmask's lung network; None takes it from the model store."""
    ltrclobes_weights: Path | None = None
    """lungmask's lobe network; None takes it from the model store."""
    lungmask_precision: Literal["exact", "fast"] = "exact"
    """`exact`: lungmask's very labels in float32. `fast`: 16 bits; borders may differ by a voxel."""
    lungmask_batch_size: int | None = None
    """Slices per step of lungmask; None for what is fastest on the device. More takes more memory."""
    model_store: Path | None = None
    """Folder of the model store, for weights that no path names; None for none."""
    perfusion: Literal["bundle", "densitometric", "network"] = "bundle"
    """`bundle` is a signed model bundle, `network` a bare network, both from `model_folder`; `densitometric` is the
    baseline without weights."""
    model_folder: Path | None = None
    """A model bundle, or a folder with `model_card.json` and `weights.safetensors`; None takes the bundle in force."""
    model_registry: Path | None = None
    """Folder of the models that may be promoted and of what is in force; None, or nothing promoted: the shipped one."""
    trusted_keys: tuple[Path, ...] = ()
    """Files with public keys whose signature on a bundle counts here, besides the keys of this project."""
    function_rule: FunctionRule = DEFAULT_RULE
    """How high- and low-functional lung are cut."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; `auto` takes a GPU when there is one."""
    quality: QualityPolicy = BY_THE_TABLE
    """What the site has changed in how checks judge."""

    def settings_digest(self) -> str:
        """SHA-256 of the choices that shape a result, as canonical JSON; UIDs of the objects derive from it.

        Where files lie, the batch size and the device are left out: moving a model folder must not make a second,
        different result of the same CT. Which weights were used is said by the identities of lobes and map.
        """
        choices: dict[str, object] = {
            "lobes": self.lobes,
            "perfusion": self.perfusion,
            "function_rule": asdict(self.function_rule),
        }
        if changes := self.quality.changes():
            choices["quality"] = changes
        if self.lobes == "lungmask" and self.lungmask_precision != "exact":
            choices["lungmask_precision"] = self.lungmask_precision
        text = json.dumps(choices, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class FoundLobes:
    """What `segment` found in a CT."""

    lobes: LobeMap
    findings: tuple[Finding, ...]
    """Of the CT and its lobes; none of them rejecting."""
    execution: tuple[ExecutionRecord, ...] = ()
    """How the network ran; empty for an engine without one."""


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
    execution: tuple[ExecutionRecord, ...] = ()
    """How the networks ran, that of the lobes first; empty for engines without one."""

    def content_sha256(self) -> str:
        """Digest of every voxel and of every way of running that is not the usual one.

        UIDs of the objects derive from it too. The same CT gives the same bits on the same machine, but not for
        certain on another one, with another version of a library, or in half precision. Without this, such a result
        would get the UIDs of the one before; an archive would take it for a duplicate and keep the old one, and
        nobody would see that what was checked here is not what is there.
        """
        digest = hashlib.sha256()
        for array in (self.lobes.labels, self.perfusion.values, self.regions.high, self.regions.low):
            digest.update(np.ascontiguousarray(array).data)
        for known in (self.perfusion.uncertainty, self.perfusion.domain):
            if known is not None:
                digest.update(known.sha256().encode())
        unusual = [asdict(replace(record, why="")) for record in self.execution if record.rung != Rung.CONFIGURED]
        if unusual:
            digest.update(json.dumps(unusual, sort_keys=True).encode())
        return digest.hexdigest()


def segment(
    ct: CtVolume,
    segmenter: LobeSegmenter,
    progress: Progress = _silent,
    descent: Descent = FROM_THE_TOP,
    policy: QualityPolicy = BY_THE_TABLE,
) -> FoundLobes:
    """Find lungs and lobes, and check them and the CT.

    Args:
        ct: the planning CT.
        segmenter: the lobe engine.
        progress: called with a short text before each step.
        descent: how a network is to run.
        policy: how the site judges what checks find.

    Raises:
        ImplausibleAnatomy: no lungs, or a check that forbids sending a result.
        OutOfMemory: the network needs more memory than there is, in every way it can run.
    """
    progress("finding lungs and lobes")
    lobes, execution = climb_down(segmenter, lambda engine: engine.segment(ct), descent)
    findings = _stop_at_rejection(check_ct_and_lobes(ct, lobes, policy))
    return FoundLobes(lobes, findings + check_execution(execution, policy), execution)


def perfuse(
    ct: CtVolume,
    found: FoundLobes,
    model: PerfusionModel,
    rule: FunctionRule,
    *,
    exclusion: Exclusion | None = None,
    progress: Progress = _silent,
    descent: Descent = FROM_THE_TOP,
    policy: QualityPolicy = BY_THE_TABLE,
) -> PerfusionResult:
    """Predict perfusion, check it, cut it into regions, tabulate.

    Args:
        ct: the planning CT.
        found: what `segment` found in it.
        model: the perfusion engine.
        rule: how the map is cut.
        exclusion: structures that do not belong to high- and low-functional lung.
        progress: called with a short text before each step.
        descent: how a network is to run.
        policy: how the site judges what checks find.

    Raises:
        ImplausibleAnatomy: a check forbids sending a result.
        OutOfMemory: the network needs more memory than there is, in every way it can run.
    """
    progress("predicting perfusion")
    perfusion, execution = climb_down(model, lambda engine: engine.predict(ct, found.lobes), descent)
    findings = found.findings + _stop_at_rejection(check_map(perfusion, policy)) + check_execution(execution, policy)
    progress("finding high- and low-functional lung")
    regions, excluded, digest = _cut(perfusion, rule, exclusion)
    findings += _stop_at_rejection(check_regions(found.lobes, perfusion, regions, policy))
    lobar, ran = lobar_perfusion(perfusion, found.lobes, regions), found.execution + execution
    return PerfusionResult(ct.source, found.lobes, perfusion, regions, lobar, findings + excluded, digest, ran)


def _cut(
    perfusion: PerfusionMap, rule: FunctionRule, exclusion: Exclusion | None
) -> tuple[FunctionRegions, tuple[Finding, ...], str]:
    """Function regions, what a reader must know of what was taken out of them, and its digest."""
    regions = find_function_regions(perfusion, rule)
    if exclusion is None:
        return regions, (), ""
    return *exclude(regions, exclusion), exclusion.sha256()


@dataclass(frozen=True, slots=True)
class PerfusionEngine:
    """Both halves with their models, ready for any number of patients."""

    lobes: LobeSegmenter
    perfusion: PerfusionModel
    function_rule: FunctionRule
    quality: QualityPolicy = BY_THE_TABLE

    def run(self, ct: CtVolume, progress: Progress = _silent, exclusion: Exclusion | None = None) -> PerfusionResult:
        """Segment, then perfuse.

        Raises:
            ImplausibleAnatomy: no lungs, or a check that forbids sending a result.
            OutOfMemory: a network needs more memory than there is, in every way it can run.
        """
        policy = self.quality
        found = segment(ct, self.lobes, progress, policy=policy)
        return perfuse(
            ct, found, self.perfusion, self.function_rule, exclusion=exclusion, progress=progress, policy=policy
        )


def build_engine(settings: EngineSettings) -> PerfusionEngine:
    """Load the models of both halves.

    Raises:
        ModelError: one of them cannot be used; each leaf says why and what to do.
    """
    return PerfusionEngine(
        build_segmenter(settings), build_perfusion_model(settings), settings.function_rule, settings.quality
    )


def build_segmenter(settings: EngineSettings) -> LobeSegmenter:
    """Load the models that `segment` needs.

    Raises:
        ModelError: one of them cannot be used; each leaf says why and what to do.
    """
    if settings.lobes == "lungmask":
        from inference.lungmask.lungmask_lobes import LungmaskLobes, LungmaskSettings

        return LungmaskLobes(
            LungmaskSettings(
                r231_weights=settings.r231_weights,
                ltrclobes_weights=settings.ltrclobes_weights,
                model_store=settings.model_store,
                precision=settings.lungmask_precision,
                batch_size=settings.lungmask_batch_size,
                device=settings.device,
            )
        )
    if settings.lobes == "totalsegmentator":
        from inference.totalsegmentator.totalseg_lobes import TotalSegmentatorLobes

        store = ModelStore(settings.model_store or Path("models"))
        if settings.model_store is None:
            raise store.absent(TOTALSEGMENTATOR_LOBES.name)
        return TotalSegmentatorLobes(store.require(TOTALSEGMENTATOR_LOBES.name), settings.device)
    from inference.atlas.atlas_lobes import AtlasLobes

    return AtlasLobes()


def build_perfusion_model(settings: EngineSettings) -> PerfusionModel:
    """Load the model that `perfuse` needs.

    Raises:
        ModelError: it cannot be used; each leaf says why and what to do.
    """
    if settings.perfusion == "bundle":
        from inference.ensemble_perfusion import EnsemblePerfusion
        from inference.models.promotion import read_serving_bundle

        bundle = read_serving_bundle(settings.model_folder, settings.trusted_keys, settings.model_registry)
        return EnsemblePerfusion.of(bundle, device=settings.device)
    if settings.perfusion == "network":
        if settings.model_folder is None:
            raise ModelNotFound("A perfusion model", "Name its folder as model_folder, or choose densitometric.")
        from inference.network_perfusion import NetworkPerfusion

        return NetworkPerfusion.load(settings.model_folder, device=settings.device)
    from inference.densitometric import DensitometricBaseline

    return DensitometricBaseline()


def _stop_at_rejection(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    reasons: dict[str, str] = {}
    for finding in findings:
        if finding.severity is Severity.REJECT:  # several lobes may have one code
            reasons[finding.code] = f"{reasons.get(finding.code, '')} {finding.sentence}".strip()
    if reasons:
        raise ImplausibleResult(reasons)
    return findings
