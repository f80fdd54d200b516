"""One in-silico patient as it is handed from generation to the files: what hospitals would have, and the truth."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, UInt8
from pydicom.dataset import FileDataset

from inference.errors import GridMismatch
from inference.geometry import Grid
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.patient_id import PatientId


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is true of the patient's lungs, on the grid of the body, at the breathing state of the body."""

    grid: Grid
    lobes: UInt8[np.ndarray, "slices rows columns"]
    """0 outside the lungs, else the value of a `Lobe`."""
    perfusion: Float32[np.ndarray, "slices rows columns"]
    """Relative to the mean over both lungs, which is 1; 0 outside."""
    vessels: Float32[np.ndarray, "slices rows columns"]
    """Share of each voxel that pulmonary arteries fill, 0 to 1, as far as they are drawn into the CT."""
    territories: Int32[np.ndarray, "slices rows columns"]
    """Number of the arterial territory, from 0; -1 outside the lungs."""
    diseases: Mapping[str, Bool[np.ndarray, "slices rows columns"]] = field(default_factory=dict)
    """Where each disease is, by its name; of a disease that the CT does not show, what it reaches."""
    arteries: ArterialTree | None = None
    """The tree that all flow comes through; None where it was not kept."""
    lumen: Float[np.ndarray, " segments"] | None = None
    """What is left of each artery's lumen: 1 open, 0 closed. There exactly when `arteries` is."""

    def __post_init__(self) -> None:
        arrays = {"lobes": self.lobes, "perfusion": self.perfusion, "vessels": self.vessels}
        for name, array in {**arrays, "territories": self.territories, **self.diseases}.items():
            if array.shape != self.grid.shape:
                raise GridMismatch(self.grid.description(), f"{name} of shape {array.shape}")
        for name in self.diseases:
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                raise ValueError(f"a disease is named in small letters, digits and hyphens, got {name!r}")
        if (self.arteries is None) != (self.lumen is None):
            raise ValueError("arteries and their lumen go together")


@dataclass(frozen=True, slots=True, eq=False)
class InsilicoPatient:
    """All that is written into the folder of one patient."""

    patient: PatientId
    ct: Iterable[FileDataset]
    """The instances of the CT series in slice order, with file meta information; taken once, so a generator will do."""
    nuclear: FileDataset
    """The reconstructed NM object."""
    truth: Truth
    facts: Mapping[str, Any]
    """For the record: who, hospital, scanner, protocol, diseases, seeds. Dataclasses, enumerations, numpy numbers and
    arrays are welcome; keys that stand in every record (`patient_record`) are not."""
