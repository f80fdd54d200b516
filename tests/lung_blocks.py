"""Lungs of blocks whose figures are known, for tests of single checks."""

import numpy as np

from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.quality.findings import Finding, Severity
from inference.quality.lobe_figures import LobeFigures
from inference.volumes import CtVolume, LobeMap, SeriesReference

NETWORK = ModelIdentity("network", "1", weights_sha256="ab" * 32)
ATLAS = ModelIdentity("atlas", "1")
SHARES = {Lobe.RLL: 0.265, Lobe.RML: 0.093, Lobe.RUL: 0.179, Lobe.LLL: 0.232, Lobe.LUL: 0.231}


def codes(findings: tuple[Finding, ...], *severities: Severity) -> set[str]:
    return {f.code for f in findings if not severities or f.severity in severities}


def the(findings: tuple[Finding, ...], code: str) -> Finding:
    """The one finding of a code."""
    (found,) = (finding for finding in findings if finding.code == code)
    return found


def grid_of(shape: tuple[int, ...], spacing_mm: float = 5.0) -> Grid:
    slices, rows, columns = shape
    return Grid.axial((slices, rows, columns), (spacing_mm,) * 3, (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")


def lobe_map(labels: np.ndarray, *, spacing_mm: float = 5.0, segmenter: ModelIdentity = NETWORK) -> LobeMap:
    return LobeMap(labels.astype(np.uint8), grid_of(labels.shape, spacing_mm), segmenter)


def ct_of(hu: np.ndarray, *, spacing_mm: float = 5.0) -> CtVolume:
    source = SeriesReference("1.2", "1.3", "1.2.3", tuple(f"1.4.{k}" for k in range(hu.shape[0])))
    return CtVolume(hu.astype(np.float32), grid_of(hu.shape, spacing_mm), source)


def block(
    labels: np.ndarray, *, hu: float = -700.0, spacing_mm: float = 5.0, segmenter: ModelIdentity = NETWORK
) -> tuple[CtVolume, LobeMap]:
    """Lobes with one density in soft tissue that fills the volume."""
    ct = ct_of(np.where(labels > 0, hu, 40.0), spacing_mm=spacing_mm)
    return ct, lobe_map(labels, spacing_mm=spacing_mm, segmenter=segmenter)


def figures_of(labels: np.ndarray, *, hu: float = -700.0, spacing_mm: float = 5.0) -> LobeFigures:
    return LobeFigures.of(*block(labels, hu=hu, spacing_mm=spacing_mm))


def normal_labels() -> np.ndarray:
    """Lobes of normal shares, 7.6 l at 5 mm: a block for each lung, cut at heights that give each lobe its share.

    The middle lobe lies in front, so that all centres are in order.
    """
    labels = np.zeros((44, 44, 44), dtype=np.uint8)
    for lobes, columns in ((list(SHARES)[:3], slice(2, 21)), (list(SHARES)[3:], slice(23, 42))):
        total, start = sum(SHARES[lobe] for lobe in lobes), 2.0
        for lobe in lobes:
            stop = start + 40 * SHARES[lobe] / total
            labels[round(start) : round(stop), 2:42, columns] = lobe
            start = stop
    middle = labels == Lobe.RML
    labels[middle] = Lobe.RLL
    height = round(40 * (SHARES[Lobe.RLL] + SHARES[Lobe.RML]) / sum(list(SHARES.values())[:3]))
    depth = round(40 * SHARES[Lobe.RML] / (SHARES[Lobe.RLL] + SHARES[Lobe.RML]))
    labels[2 : 2 + height, 2 : 2 + depth, 2:21] = Lobe.RML
    return labels
