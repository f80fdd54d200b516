"""Every region of a result with its name, voxels, coded meaning and maker: the same list for contours and segments."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm, RoiName, Structure
from dicom_node.objects.provenance import ResultContext
from inference.anatomy import Lobe, Side
from inference.model_card import ModelIdentity
from inference.volumes import FunctionRegions, LobeMap


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """One region of a result. It may hold no voxel: whoever writes it decides what becomes of that."""

    name: str
    """TG-263 name, with `^` before a custom qualifier."""
    mask: Bool[np.ndarray, "slices rows columns"]
    structure: Structure
    made_by: ModelIdentity
    family: CodedTerm
    """Algorithm family (CID 7162)."""
    description: str
    """Caveats and, for functional regions, the rule; ASCII."""

    @property
    def colour(self) -> tuple[int, int, int]:
        """Fixed display colour, red, green, blue from 0 to 255."""
        return codes.COLOURS[self.name]


def lung_rois(lobes: LobeMap) -> Iterator[Roi]:
    """Both lungs together, then each side."""
    yield _organ(RoiName.LUNGS, lobes.lungs, codes.LUNGS_STRUCTURE, lobes)
    for side in Side:
        yield _organ(side.tg263, lobes.lung(side), codes.SIDE_STRUCTURES[side], lobes)


def lobe_rois(lobes: LobeMap) -> Iterator[Roi]:
    """The five lobes in the order of their labels."""
    for lobe in Lobe:
        yield _organ(lobe.tg263, lobes.mask(lobe), codes.LOBE_STRUCTURES[lobe], lobes)


def function_rois(regions: FunctionRegions, context: ResultContext) -> Iterator[Roi]:
    """High-, then low-functional lung."""
    model = context.perfusion_model
    family = codes.ARTIFICIAL_INTELLIGENCE if model.weights_sha256 else codes.HISTOGRAM_ANALYSIS
    note = f"RESEARCH ONLY. {regions.rule.statement()} {context.caveats()}".strip()
    for name, mask in ((RoiName.HIGH, regions.high), (RoiName.LOW, regions.low)):
        yield Roi(name, mask, codes.FUNCTION_STRUCTURE, model, family, note)


def _organ(name: str, mask: Bool[np.ndarray, "slices rows columns"], structure: Structure, lobes: LobeMap) -> Roi:
    network = bool(lobes.segmenter.weights_sha256)
    family = codes.ARTIFICIAL_INTELLIGENCE if network else codes.MORPHOLOGICAL_OPERATIONS
    return Roi(name, mask, structure, lobes.segmenter, family, f"RESEARCH ONLY. {lobes.segmenter.caveat}".strip())
