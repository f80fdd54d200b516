"""One patient of the study as networks and scores see it: everything on the grid of the network.

A case holds what the node shows a network of this CT (`channels`), what the SPECT measured there (`target`), what is
true (`truth`), and what predictors score that know nearly nothing (`baselines`). Voxels outside the lungs are 0 in all
maps and count nowhere. Cases of the study come from the in-silico cohort; those of a hospital's own pairs are made by
`training.retraining.pair_cases` and have no truth.

The module needs numpy only, so that a machine that trains needs no DICOM and no ITK.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.errors import GridMismatch
from inference.geometry import Grid
from training.baselines import Predictor

BASELINES = tuple(Predictor)
"""The trivial predictors of a case, in the order of `StudyCase.baselines`.

`density × gravity` is one of them: it is the best on the eroded mask in docs/cohort-realism.md, and a network must be
held against the best."""

Map = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What is known of a patient beside its pictures; plain JSON values."""

    hospital: str
    """Name of an in-silico hospital; tells scanner and SPECT protocol."""
    breath: str
    """In which the CT was made: `free breathing`, as the SPECT is, or `deep inspiration`."""
    diseases: tuple[str, ...]
    """Names of the diseases that were drawn, sorted, each once."""
    disease_percent: Mapping[str, float]
    """Volume of each disease mask inside the lungs, in percent of the lungs."""
    fwhm_mm: float
    """Effective SPECT resolution of this patient, and the margin of `eroded`."""
    spect_counts: int
    """Registered in all views."""
    true_lobe_means: Mapping[str, float]
    """Mean true perfusion of each lobe that exists, at full resolution; 1 is the mean of both lungs."""
    ct_spacing_mm: tuple[float, float, float]
    """Slices, rows, columns."""
    lung_volume_ml: float
    """By the mask that the channels were made with."""
    mask: str
    """Where lungs and lobes come from: `true lobes`, or the name of an engine."""
    input_statistics: Mapping[str, float] = field(default_factory=dict)
    """Of the CT at full resolution, for the fingerprint of the training patients (`inference.domain`)."""
    has_truth: bool = True
    """False for a pair of a study store: nobody knows its true perfusion, `truth` and `defects` of the case are 0."""


@dataclass(frozen=True, eq=False)
class StudyCase:
    """One patient on the grid of the network."""

    patient: str
    """`NC-001`, `LC-001` …"""
    cohort: str
    """`non-cancer` or `lung-cancer` (`CohortName`)."""
    channel_names: tuple[str, ...]
    """What each of `channels` is, as in the model card."""
    channels: Float32[np.ndarray, "channels slices rows columns"]
    """The input of the network, exactly as the node makes it from this CT and mask (rounded to 1/2048)."""
    lungs: Bool[np.ndarray, "slices rows columns"]
    """Voxels that are lung by half or more: where loss and scores are taken."""
    eroded: Bool[np.ndarray, "slices rows columns"]
    """Voxels of `lungs` at least `facts.fwhm_mm` inside their surface."""
    lobes: UInt8[np.ndarray, "slices rows columns"]
    """The value of a `Lobe` in `lungs`, by most of the voxel; 0 outside."""
    defects: UInt8[np.ndarray, "slices rows columns"]
    """Perfusion defects of the truth, numbered from 1, the largest first (`perfusion_defects`); 0 elsewhere."""
    target: Map
    """SPECT in multiples of its mean over `lungs`; 0 outside."""
    truth: Map
    """True perfusion blurred as this SPECT blurs, in multiples of its mean over `lungs`: the noise ceiling."""
    baselines: Float32[np.ndarray, "predictors slices rows columns"]
    """The maps of `BASELINES`, each in multiples of its mean over `lungs`."""
    grid: Grid
    """Patient axes; spacing of the network."""
    facts: CaseFacts

    def __post_init__(self) -> None:
        masks = {"lungs": self.lungs, "eroded": self.eroded, "lobes": self.lobes, "defects": self.defects}
        maps = {"target": self.target, "truth": self.truth, "channels": self.channels, "baselines": self.baselines}
        for name, array in {**masks, **maps}.items():
            if array.shape[-3:] != self.grid.shape:
                raise GridMismatch(self.grid.description(), f"{name} of shape {array.shape}")
            array.flags.writeable = False
        if len(self.channel_names) != len(self.channels):
            raise ValueError(f"{len(self.channel_names)} names for {len(self.channels)} channels")
        if len(self.baselines) != len(BASELINES):
            raise ValueError(f"{len(BASELINES)} baselines are wanted, got {len(self.baselines)}")

    @cached_property
    def baseline_maps(self) -> dict[str, Map]:
        """The maps of the trivial predictors by name."""
        return {str(name): values for name, values in zip(BASELINES, self.baselines, strict=True)}

    def channel(self, name: str) -> Map:
        """One channel by its name.

        Raises:
            KeyError: the case has no such channel.
        """
        if name not in self.channel_names:
            raise KeyError(f"no channel {name!r} among {', '.join(self.channel_names)}")
        values: Map = self.channels[self.channel_names.index(name)]
        return values
