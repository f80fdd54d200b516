"""The record of an in-silico patient: what it is made of, what is true of it, and the digests of its files, as JSON."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from inference.anatomy import Lobe
from training.insilico.cohort_plan import GENERATOR, GENERATOR_VERSION, InsilicoPlan
from training.insilico.files.truth_images import PERFUSION_STEP, truth_grid
from training.insilico.patient import InsilicoPatient, Truth

FORMAT = 1
WHAT = "in silico, no patient"
OWN_KEYS = frozenset(("format", "what", "patient", "cohort", "making", "software", "truth", "bytes", "files"))
"""What stands in every record; facts of a patient have other names."""
SOFTWARE = ("perfusion-node", "numpy", "scipy", "SimpleITK", "pydicom", "pyjpegls", "torch", "pytomography")
"""What the bytes of a patient may depend on; equal seeds give equal bytes where these are equal."""


def patient_record(patient: InsilicoPatient, plan: InsilicoPlan, files: Mapping[str, Path]) -> bytes:
    """The content of `record.json`: keys in order, two equal patients have equal bytes.

    Args:
        patient: what was made; its facts stand in the record under their own keys.
        plan: what it was made from.
        files: every other file of the patient, by its name within the folder.

    Raises:
        ValueError: a fact has the key of something that stands in every record, or is not finite.
        TypeError: a fact is nothing that JSON knows.
    """
    own = {
        "format": FORMAT,
        "what": WHAT,
        "patient": str(patient.patient),
        "cohort": patient.patient.cohort.value,
        "making": {
            "generator": GENERATOR,
            "version": GENERATOR_VERSION,
            "digest": plan.making_digest,
            "seed": plan.seed,
            "settings": plain({"body": asdict(plan.body), "ct": asdict(plan.ct), "spect": asdict(plan.spect)}),
        },
        "software": software_versions(),
        "truth": _truth_facts(patient.truth),
        "bytes": sum(path.stat().st_size for path in files.values()),
        "files": {name: sha256_of(path) for name, path in files.items()},
    }
    taken = sorted(OWN_KEYS & set(patient.facts))
    if taken:
        raise ValueError(f"facts cannot be called {', '.join(taken)}: these stand in every record")
    return json_bytes({**own, **plain(patient.facts)})


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """JSON with its keys in order, one to a line; equal content gives equal bytes."""
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def software_versions() -> dict[str, str]:
    """Versions of the software that makes patients, as far as it is installed."""
    found = {"python": platform.python_version()}
    for package in SOFTWARE:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def plain(value: Any) -> Any:
    """The value in what JSON knows: dataclasses as objects, enumerations by value, numpy numbers and arrays by content.

    Raises:
        TypeError: it holds something else.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in (sorted(value) if isinstance(value, set | frozenset) else value)]
    raise TypeError(f"{type(value).__name__} does not go into a record")


def _truth_facts(truth: Truth) -> dict[str, Any]:
    grid = truth_grid(truth)
    lungs = truth.lobes > 0
    total = float(truth.perfusion.sum(dtype=np.float64))
    lobes = {}
    for lobe in Lobe:
        voxels = truth.lobes == lobe
        count, part = int(np.count_nonzero(voxels)), float(truth.perfusion[voxels].sum(dtype=np.float64))
        lobes[lobe.name] = {
            "volume_ml": round(count * grid.voxel_volume_ml, 3),
            "mean_perfusion": round(part / count, 6) if count else None,
            "share_of_perfusion": round(part / total, 6) if total else None,
        }
    volumes = {n: round(int(np.count_nonzero(m)) * grid.voxel_volume_ml, 3) for n, m in truth.diseases.items()}
    return {
        "grid": {
            "shape": list(grid.shape),
            "spacing_mm": [round(s, 9) for s in grid.spacing_mm],
            "origin_mm": [round(o, 9) for o in grid.origin_mm],
            "order": "slice, row, column; positions in LPS",
        },
        "frame_of_reference_uid": grid.frame_of_reference_uid,
        "perfusion_step": PERFUSION_STEP,
        "lung_volume_ml": round(int(np.count_nonzero(lungs)) * grid.voxel_volume_ml, 3),
        "lobes": lobes,
        "disease_volume_ml": volumes,
        "territories": int(truth.territories.max()) + 1,
    }
