"""The masks behind narrowed arteries are the lung that depends on them."""

import numpy as np

from inference.anatomy import Lobe
from tests.insilico_lungs import healthy
from tests.insilico_trees import coarse_body, grown
from training.insilico.arteries.branching import lobar_artery
from training.insilico.diseases.artery_masks import artery_masks
from training.insilico.diseases.embolism import Embolism, Reach
from training.insilico.diseases.vasoconstriction import Vasoconstriction


def test_behind_a_lobar_artery_lies_its_lobe() -> None:
    plugged = Embolism(Reach.LOBES, tuple(lobar_artery(grown(), k) for k in (Lobe.RML, Lobe.LLL)), (0.0, 0.3))
    masks = artery_masks((plugged,), grown(), healthy().territories)
    assert list(masks) == ["behind-embolism"]
    np.testing.assert_array_equal(masks["behind-embolism"], np.isin(coarse_body().lobes, (Lobe.RML, Lobe.LLL)))


def test_two_emboli_share_a_mask_and_open_arteries_have_none() -> None:
    first, second = (Embolism(Reach.LOBE, (lobar_artery(grown(), k),), (0.0,)) for k in (Lobe.RUL, Lobe.RLL))
    open_ones = Vasoconstriction(0.2, 40.0, 0.5, "v")
    masks = artery_masks((first, open_ones, second), grown(), healthy().territories)
    np.testing.assert_array_equal(masks["behind-embolism"], np.isin(coarse_body().lobes, (Lobe.RUL, Lobe.RLL)))
    assert artery_masks((open_ones,), grown(), healthy().territories) == {}
