"""Structures that are taken out of high- and low-functional lung: a tumour is no lung that a plan could spare.

Lungs, lobes, map and lobar volumes stay as they are. What was drawn by a person is subtracted exactly, voxel by voxel,
after the rule and its cleaning: a small rest of a region beside a structure stays a part of the region.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from inference.geometry import Box, Grid
from inference.quality.findings import Finding, Severity
from inference.volumes import FunctionRegions, require_same_grid


@dataclass(frozen=True, slots=True, eq=False)
class ExcludedStructure:
    """One structure on the grid of the CT."""

    name: str
    """As the planning system calls it; ASCII."""
    origin: str
    """Which structure set it is from, in words and without a UID; ASCII."""
    box: Box
    """Where `mask` lies in the volume."""
    mask: Bool[np.ndarray, "s r c"]


@dataclass(frozen=True, slots=True, eq=False)
class Exclusion:
    """Everything that shall be left out, and what a reader must know of it."""

    grid: Grid
    structures: tuple[ExcludedStructure, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Structures that were asked for and could not be used, or that need a look."""

    def sha256(self) -> str:
        """Digest of all that shapes a result: voxels, names, origins and sentences."""
        digest = hashlib.sha256()
        for structure in self.structures:
            digest.update(f"{structure.name}\n{structure.origin}\n{structure.box}\n".encode())
            digest.update(np.packbits(structure.mask).tobytes())
        for finding in self.findings:
            digest.update(f"{finding.code} {finding.sentence}\n".encode())
        return digest.hexdigest()


def exclude(regions: FunctionRegions, exclusion: Exclusion) -> tuple[FunctionRegions, tuple[Finding, ...]]:
    """Take structures out of both regions.

    Returns:
        The smaller regions, and a finding for each structure that says how much it took, in the order of structures;
        where structures overlap, the first takes the voxels.

    Raises:
        GridMismatch: the structures lie on another grid.
    """
    require_same_grid(regions.grid, exclusion.grid)
    high, low = regions.high.copy(), regions.low.copy()
    findings = []
    for structure in exclusion.structures:
        taken_ml = 0.0
        for region in (high, low):
            part = region[structure.box]
            taken_ml += float(np.count_nonzero(part & structure.mask)) * regions.grid.voxel_volume_ml
            part &= ~structure.mask
        origin = f"{structure.name} ({structure.origin})"
        sentence = f"{taken_ml:.2f} ml of {origin} were taken out of high- and low-functional lung."
        whole_ml = float(np.count_nonzero(structure.mask)) * regions.grid.voxel_volume_ml
        findings.append(Finding("STRUCTURE_SUBTRACTED", Severity.NOTE, sentence, taken_ml, whole_ml, "ml"))
    return FunctionRegions(high, low, regions.grid, regions.rule), (*exclusion.findings, *findings)
