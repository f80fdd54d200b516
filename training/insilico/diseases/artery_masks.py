"""Where lung lies behind narrowed arteries: the truth of what only perfusion shows, by disease."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int32

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import ends_below
from training.insilico.diseases.disease import Disease

BEHIND = "behind-{}"
"""Name of the mask of what a disease has narrowed the arteries of."""


def artery_masks(
    diseases: Iterable[Disease], tree: ArterialTree, territories: Int32[np.ndarray, "slices rows columns"]
) -> dict[str, Bool[np.ndarray, "slices rows columns"]]:
    """The lung downstream of what each disease narrows or closes, such as `behind-embolism`; open ones have no mask.

    Args:
        diseases: of one patient.
        tree: the arteries that the diseases were drawn for.
        territories: of each voxel, -1 outside the lungs.
    """
    masks: dict[str, Bool[np.ndarray, "slices rows columns"]] = {}
    for disease in diseases:
        narrowed = np.flatnonzero(disease.narrow(tree) < 1.0)
        if len(narrowed):
            struck = np.zeros(int(tree.end.max()) + 2, dtype=bool)
            for artery in narrowed:
                struck[ends_below(tree, int(artery))] = True
            # The last place stands for -1, outside the lungs, and stays false.
            name = BEHIND.format(disease.name)
            masks[name] = struck[territories] | masks.get(name, np.False_)
    return masks
