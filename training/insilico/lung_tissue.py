"""What the lungs are made of at each place: what a CT would show, and how much of the capillary bed works."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.geometry import Grid


@dataclass(frozen=True, slots=True, eq=False)
class LungTissue:
    """The lungs on the grid of the body. A disease gives a new one; arrays are never changed in place."""

    grid: Grid
    lobes: UInt8[np.ndarray, "slices rows columns"]
    """0 outside the lungs, else the value of a `Lobe`. Diseased lung stays lung; fluid of an effusion is no lung."""
    hu: Float32[np.ndarray, "slices rows columns"]
    """CT numbers of the whole body, without the vessels inside the lungs."""
    capillaries: Float32[np.ndarray, "slices rows columns"]
    """Share of the capillary bed per gram of tissue that still carries blood: 1 healthy, 0 none. 1 outside."""
    masks: Mapping[str, Bool[np.ndarray, "slices rows columns"]] = field(default_factory=dict)
    """Where each disease is, by its name; part of the truth that is written out."""
