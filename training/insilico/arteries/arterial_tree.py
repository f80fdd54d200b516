"""The pulmonary arteries as a tree of straight segments that ends in thousands of territories."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32


@dataclass(frozen=True, slots=True, eq=False)
class ArterialTree:
    """Arteries from the pulmonary trunk to the ends. Segment k leads from its parent's end to `end_mm[k]`.

    Parents come before their children. Segment 0 is the pulmonary trunk, its parent is -1.
    """

    start_mm: Float[np.ndarray, "segments 3"]
    """LPS."""
    end_mm: Float[np.ndarray, "segments 3"]
    """LPS."""
    parent: Int32[np.ndarray, " segments"]
    radius_mm: Float[np.ndarray, " segments"]
    """Of the healthy lumen."""
    lobe: Int32[np.ndarray, " segments"]
    """The lobe that a segment supplies; 0 where it supplies several."""
    end: Int32[np.ndarray, " segments"]
    """Number of the territory that a segment ends in, from 0; -1 for segments with children."""
