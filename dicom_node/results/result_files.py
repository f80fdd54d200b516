"""CT, lobes and result between two stages, as files: arrays in NPZ, facts in JSON beside it.

Stages run in processes of their own, so what one makes the next one reads from disk. Nothing here is DICOM and
nothing is for export. A node that is upgraded with cases on their way reads what the version before it has written, so
what was added later may be absent.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.durable_files import write_json, written_durably
from dicom_node.results.uncertainty_files import domain_of, uncertainty_arrays, uncertainty_facts, uncertainty_of
from inference.anatomy import Lobe
from inference.engine import FoundLobes, PerfusionResult
from inference.execution import ExecutionRecord
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.quality.findings import Finding, Severity
from inference.volumes import (
    CtVolume,
    FunctionBasis,
    FunctionRegions,
    FunctionRule,
    LobarPerfusion,
    LobeMap,
    LossyCompression,
    PerfusionMap,
    SeriesReference,
)


def write_ct(path: Path, ct: CtVolume) -> None:
    """Keep a CT volume; its facts go to `path` with the suffix `.json`."""
    _write_arrays(path, hu=ct.hu)
    lossy = None if ct.lossy is None else asdict(ct.lossy)
    facts = {"grid": _grid_facts(ct.grid), "source": asdict(ct.source), "lossy": lossy}
    write_json(path.with_suffix(".json"), facts)


def read_ct(path: Path) -> CtVolume:
    """The CT volume kept by `write_ct`."""
    facts = _read_facts(path)
    lossy = None if facts["lossy"] is None else LossyCompression(**facts["lossy"])
    with np.load(path) as arrays:
        return CtVolume(arrays["hu"], _grid(facts["grid"]), _source(facts["source"]), lossy)


def read_ct_place(path: Path) -> tuple[Grid, SeriesReference]:
    """Where the CT volume kept by `write_ct` lies, and of which images it was made; its voxels are not read."""
    facts = _read_facts(path)
    return _grid(facts["grid"]), _source(facts["source"])


def write_lobes(path: Path, found: FoundLobes) -> None:
    """Keep what stage `segment` found."""
    _write_arrays(path, labels=found.lobes.labels)
    facts = {
        "grid": _grid_facts(found.lobes.grid),
        "segmenter": asdict(found.lobes.segmenter),
        "findings": [asdict(finding) for finding in found.findings],
        "execution": [asdict(record) for record in found.execution],
    }
    write_json(path.with_suffix(".json"), facts)


def read_lobes(path: Path) -> FoundLobes:
    """The lobes kept by `write_lobes`."""
    facts = _read_facts(path)
    with np.load(path) as arrays:
        lobes = LobeMap(arrays["labels"], _grid(facts["grid"]), ModelIdentity(**facts["segmenter"]))
    return FoundLobes(lobes, _findings(facts), _execution(facts))


def write_result(path: Path, result: PerfusionResult) -> None:
    """Keep a result; masks are packed to bits."""
    _write_arrays(
        path,
        labels=result.lobes.labels,
        perfusion=result.perfusion.values,
        high=np.packbits(result.regions.high),
        low=np.packbits(result.regions.low),
        **uncertainty_arrays(result.perfusion),
    )
    facts = {
        "grid": _grid_facts(result.lobes.grid),
        "source": asdict(result.source),
        "segmenter": asdict(result.lobes.segmenter),
        "model": asdict(result.perfusion.model),
        "rule": asdict(result.regions.rule),
        "lobar": {lobe.name: asdict(row) for lobe, row in result.lobar.items()},
        "findings": [asdict(finding) for finding in result.findings],
        "excluded_sha256": result.excluded_sha256,
        "execution": [asdict(record) for record in result.execution],
        **uncertainty_facts(result.perfusion),
    }
    write_json(path.with_suffix(".json"), facts)


def read_result(path: Path) -> PerfusionResult:
    """The result kept by `write_result`."""
    facts = _read_facts(path)
    grid = _grid(facts["grid"])
    with np.load(path) as arrays:
        labels = arrays["labels"]
        high, low = (_unpacked(arrays[name], grid) for name in ("high", "low"))
        lobes = LobeMap(labels, grid, ModelIdentity(**facts["segmenter"]))
        known = uncertainty_of(facts, arrays, grid.frame_of_reference_uid)
        maker = ModelIdentity(**facts["model"])
        perfusion = PerfusionMap(arrays["perfusion"], lobes.lungs, grid, maker, known, domain_of(facts))
    rule = FunctionRule(**{**facts["rule"], "basis": FunctionBasis(facts["rule"]["basis"])})
    return PerfusionResult(
        source=_source(facts["source"]),
        lobes=lobes,
        perfusion=perfusion,
        regions=FunctionRegions(high, low, grid, rule),
        lobar={lobe: LobarPerfusion(**facts["lobar"][lobe.name]) for lobe in Lobe},
        findings=_findings(facts),
        excluded_sha256=facts["excluded_sha256"],
        execution=_execution(facts),
    )


def _findings(facts: dict[str, Any]) -> tuple[Finding, ...]:
    return tuple(Finding(**{**f, "severity": Severity(f["severity"])}) for f in facts["findings"])


def _execution(facts: dict[str, Any]) -> tuple[ExecutionRecord, ...]:
    return tuple(ExecutionRecord(**{**r, "tile": tuple(r["tile"])}) for r in facts.get("execution", ()))


def _write_arrays(path: Path, **arrays: np.ndarray) -> None:
    with written_durably(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _read_facts(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return facts


def _unpacked(bits: np.ndarray, grid: Grid) -> np.ndarray:
    return np.unpackbits(bits, count=int(np.prod(grid.shape))).reshape(grid.shape).astype(bool)


def _grid_facts(grid: Grid) -> dict[str, Any]:
    return {
        "shape": list(grid.shape),
        "affine": grid.affine.tolist(),
        "frame_of_reference_uid": grid.frame_of_reference_uid,
    }


def _grid(facts: dict[str, Any]) -> Grid:
    return Grid(tuple(facts["shape"]), np.array(facts["affine"]), facts["frame_of_reference_uid"])


def _source(facts: dict[str, Any]) -> SeriesReference:
    frames = facts["frame_numbers"]
    return SeriesReference(
        **{
            **facts,
            "sop_instance_uids": tuple(facts["sop_instance_uids"]),
            "frame_numbers": None if frames is None else tuple(frames),
        }
    )
