"""What an in-silico cohort is made of, read from one file of `configs/cohort/`.

A patient follows from the seed, the settings below and the version of the generator, and from nothing else: not from
how many patients there are, who else is made, or how many processes work. `making_digest` names all of that, so that
patients made in two ways are never taken for one cohort.
"""

import hashlib
import json
from dataclasses import asdict
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from training.errors import CohortPlanError
from training.insilico.cohort_name import CohortName
from training.insilico.draws import Draws
from training.insilico.patient_id import PatientId
from training.insilico.spect.spect_protocol import SpectMethod
from training.toml_files import STRICT, Name, Text, parsed

GENERATOR = "insilico-cohort"
GENERATOR_VERSION = "2"
"""Raise it with every change that changes a patient: unfinished cohorts of the old version are then refused."""

NumberOf = Annotated[int, Field(ge=0, le=9999, strict=True)]


class CtEncoding(StrEnum):
    """How the pixels of CT files are stored; all without loss."""

    JPEG_LS = "jpeg-ls"
    """A third of the size; about 10 ms per slice of 512 x 512."""
    RLE = "rle"
    UNCOMPRESSED = "uncompressed"
    """Explicit VR Little Endian, which every program reads."""

    @property
    def transfer_syntax(self) -> UID:
        """Transfer Syntax UID (PS3.5 annex A)."""
        return {
            CtEncoding.JPEG_LS: JPEGLSLossless,
            CtEncoding.RLE: RLELossless,
            CtEncoding.UNCOMPRESSED: ExplicitVRLittleEndian,
        }[self]


@dataclass(frozen=True, slots=True, config=STRICT)
class Counts:
    """How many patients of each cohort. Ren et al. 2022 had 137 and 33."""

    non_cancer: NumberOf
    lung_cancer: NumberOf


@dataclass(frozen=True, slots=True, config=STRICT)
class BodyPlan:
    """The body that everything is drawn on."""

    spacing_mm: Annotated[float, Field(ge=0.8, le=8.0)]
    """Edge of its cubic voxels. 1.5 mm gives about 9 million; time and memory grow with the third power."""
    territories: Annotated[int, Field(ge=5, le=50_000, strict=True)]
    """Ends of the arterial tree in both lungs."""


@dataclass(frozen=True, slots=True, config=STRICT)
class CtPlan:
    """What is the same for the CTs of all hospitals; the rest is theirs (`hospitals`)."""

    matrix: Annotated[int, Field(ge=32, le=1024, strict=True)]
    """Rows and columns; the field of view stays that of the scanner."""
    encoding: CtEncoding = CtEncoding.JPEG_LS


@dataclass(frozen=True, slots=True, config=STRICT)
class SpectPlan:
    """What is the same for the SPECT of all hospitals."""

    method: SpectMethod


@dataclass(frozen=True, slots=True, config=STRICT)
class InsilicoPlan:
    """A whole cohort: the content of one file."""

    name: Name
    statement: Text
    """What the cohort is for, and what it is not."""
    seed: Annotated[int, Field(ge=0, strict=True)]
    """Another seed gives other patients."""
    counts: Counts
    body: BodyPlan
    ct: CtPlan
    spect: SpectPlan

    @property
    def patients(self) -> tuple[PatientId, ...]:
        """All patients, those without lung cancer first."""
        numbers = {CohortName.NON_CANCER: self.counts.non_cancer, CohortName.LUNG_CANCER: self.counts.lung_cancer}
        return tuple(PatientId(cohort, k + 1) for cohort, count in numbers.items() for k in range(count))

    def draws(self, patient: PatientId) -> Draws:
        """Where all chance of one patient comes from."""
        return Draws(f"{GENERATOR}/{self.seed}/{patient}")

    @property
    def making_digest(self) -> str:
        """SHA-256 of all that a patient follows from: settings and generator, without name, statement and counts."""
        settings = asdict(self)
        for key in ("name", "statement", "counts"):
            del settings[key]
        made_by = {"generator": GENERATOR, "version": GENERATOR_VERSION, "settings": settings}
        return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()


def shipped_plans() -> tuple[str, ...]:
    """Names of the cohorts whose files come with this package."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in files("configs").joinpath("cohort").iterdir()))


def read_plan(name_or_path: str | Path) -> InsilicoPlan:
    """Read the file of a cohort.

    Args:
        name_or_path: a name from `shipped_plans`, or a path that ends in `.toml`.

    Raises:
        CohortPlanError: there is no such file, or it has mistakes; with every mistake, each with its key.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if str(name_or_path) not in shipped_plans():
            known = f"known are {', '.join(shipped_plans())}, or a .toml file"
            raise CohortPlanError(str(name_or_path), (f"there is no cohort of this name; {known}",))
        path = Path(str(files("configs").joinpath("cohort", f"{name_or_path}.toml")))
    problems: list[str] = []
    plan = parsed(path, InsilicoPlan, problems)
    if plan is not None and not plan.patients:
        problems.append(f"{path.name}: counts: no patient at all")
    if plan is None or problems:
        raise CohortPlanError(str(path), tuple(problems))
    return plan
