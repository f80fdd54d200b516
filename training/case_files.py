"""Study cases on disk: one compressed NPZ per patient, small enough to carry all of a study to another machine.

    OUT/cases/NC-001.npz

Channels lie in float16, rounded to 1/2048, in the whole box; maps in float16 at the voxels of the lungs only, in the
order of the mask. Equal cases give equal bytes. A file appears under its name when it is whole.
"""

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from inference.geometry import Grid
from training.errors import CaseUnusable
from training.insilico.files.whole_folder import write_whole
from training.study_case import CaseFacts, StudyCase

FORMAT = 1
STEP = 1.0 / 2048.0
"""Channels are multiples of this: half a HU in a window of 1,100 HU, far below the noise of a voxel's mean."""


def case_file(folder: Path, patient: str) -> Path:
    """Where the case of a patient lies in a folder of cases."""
    return folder / f"{patient}.npz"


def write_case(path: Path, case: StudyCase, *, digest: str = "") -> None:
    """Write a case, in place of an older one.

    Args:
        path: the file; its folder must exist.
        case: what is written.
        digest: of everything that the case was made from; see `kept_digest`.

    Raises:
        OSError: the file system refuses.
    """
    header = {
        "format": FORMAT,
        "patient": case.patient,
        "cohort": case.cohort,
        "digest": digest,
        "channel_names": case.channel_names,
        "frame_of_reference_uid": case.grid.frame_of_reference_uid,
        "facts": asdict(case.facts),
    }
    inside = case.lungs
    file = io.BytesIO()
    np.savez_compressed(
        file,
        header=np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8),
        affine=case.grid.affine,
        channels=(np.round(case.channels / STEP) * STEP).astype(np.float16),
        lungs=inside,
        eroded=case.eroded[inside],
        lobes=case.lobes[inside],
        defects=case.defects[inside],
        target=case.target[inside].astype(np.float16),
        truth=case.truth[inside].astype(np.float16),
        baselines=case.baselines[:, inside].astype(np.float16),
    )
    write_whole(path, file.getvalue())


def read_case(path: Path) -> StudyCase:
    """Read a case.

    Raises:
        CaseUnusable: the file is missing, damaged, or of another format.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            header = _header(arrays)
            return _case(header, arrays)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as fault:
        raise CaseUnusable(str(path), str(fault)) from fault


def read_cases(folder: Path, patients: Iterable[str]) -> tuple[StudyCase, ...]:
    """The cases of some patients, in their order.

    Raises:
        CaseUnusable: one is missing or damaged.
    """
    return tuple(read_case(case_file(folder, patient)) for patient in patients)


def prepared_patients(folder: Path) -> tuple[str, ...]:
    """Names of the patients that have a case in a folder, sorted; none where there is no folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.npz")))


def kept_digest(path: Path) -> str | None:
    """The digest a case was written with; None where there is no case that can be read."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return str(_header(arrays)["digest"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _header(arrays: Any) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(arrays["header"].tobytes())
    if header["format"] != FORMAT:
        raise ValueError(f"it is of format {header['format']}, this version reads {FORMAT}")
    return header


def _case(header: dict[str, Any], arrays: Any) -> StudyCase:
    inside = arrays["lungs"]
    facts = header["facts"]
    for name in ("diseases", "ct_spacing_mm"):
        facts[name] = tuple(facts[name])
    return StudyCase(
        patient=header["patient"],
        cohort=header["cohort"],
        channel_names=tuple(header["channel_names"]),
        channels=arrays["channels"].astype(np.float32),
        lungs=inside,
        eroded=_spread_out(arrays["eroded"], inside),
        lobes=_spread_out(arrays["lobes"], inside),
        defects=_spread_out(arrays["defects"], inside),
        target=_spread_out(arrays["target"].astype(np.float32), inside),
        truth=_spread_out(arrays["truth"].astype(np.float32), inside),
        baselines=np.stack([_spread_out(values.astype(np.float32), inside) for values in arrays["baselines"]]),
        grid=Grid(inside.shape, arrays["affine"], header["frame_of_reference_uid"]),
        facts=CaseFacts(**facts),
    )


def _spread_out(values: np.ndarray, inside: Bool[np.ndarray, "s r c"]) -> np.ndarray:
    """Values of the lungs' voxels back in the box; 0 outside."""
    whole = np.zeros(inside.shape, dtype=values.dtype)
    whole[inside] = values
    return whole
