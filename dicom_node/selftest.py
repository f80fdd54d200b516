"""Decoders and engines against answers that are known, at every start of the node.

A transfer syntax that is accepted and does not decode in this installation (`inference.ct.decoders`), a wrong side, a
map upside down, a missing lobe or an unusable model stops the start here, before the first patient. Coarse on purpose,
so that it takes seconds; it proves that the installation works, not that a model is good.
"""

import numpy as np
from pydicom.uid import UID

from dicom_node.errors import SelfTestFailed
from dicom_node.settings.config import NodeSettings
from inference.anatomy import Lobe, Side
from inference.ct.decoders import undecodable
from inference.engine import PerfusionResult, build_engine
from inference.phantom.thorax import DEFAULT_GRID, DigitalThorax, draw_thorax

LEAST_LUNG_DICE = 0.85
"""Per side. Far below what either lobe engine reaches on the thorax, far above what a swapped side would give."""
SPACING_MM = (5.0, 3.0, 3.0)
"""Like a coarse planning CT."""
_QUESTION = "The digital thorax was not recognised"


def run_self_test(settings: NodeSettings) -> None:
    """Decode a sample of every accepted transfer syntax, process the digital thorax, and compare.

    Raises:
        SelfTestFailed: a sample is not decoded, a lung is not where it is, a lobe is missing, or the poorly perfused
            region is not found.
        ModelError: a model cannot be used.
    """
    if faults := undecodable([UID(syntax) for syntax in settings.receiver.transfer_syntaxes]):
        raise SelfTestFailed("DECODING", " ".join(f"{name} is not decoded: {why}." for name, why in faults.items()))
    thorax = draw_thorax(DEFAULT_GRID.with_spacing(SPACING_MM))
    require_recognised(thorax, build_engine(settings.engine).run(thorax.ct))


def require_recognised(thorax: DigitalThorax, result: PerfusionResult) -> None:
    """Compare a result with what the digital thorax holds.

    Raises:
        SelfTestFailed: a lung is not where it is, a lobe is missing, or the poorly perfused region is not found.
    """
    for side in Side:
        dice = _dice(result.lobes.lung(side), thorax.lobes.lung(side))
        if dice < LEAST_LUNG_DICE:
            raise SelfTestFailed("LUNG", f"{_QUESTION}: {side.tg263} Dice {dice:.2f}, needed {LEAST_LUNG_DICE}.")
    missing = [lobe.tg263 for lobe in Lobe if not result.lobes.mask(lobe).any()]
    if missing:
        raise SelfTestFailed("LOBES", f"{_QUESTION}: no {', '.join(missing)}.")
    if not _low_region_is_low(thorax, result):
        raise SelfTestFailed("PERFUSION", f"{_QUESTION}: its poorly perfused region is not below the lung mean.")


def _low_region_is_low(thorax: DigitalThorax, result: PerfusionResult) -> bool:
    region = thorax.low_region & result.lobes.lungs
    return bool(region.any()) and float(result.perfusion.values[region].mean()) < 0.9


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    together = int(np.count_nonzero(found)) + int(np.count_nonzero(truth))
    return 2.0 * int(np.count_nonzero(found & truth)) / max(together, 1)
