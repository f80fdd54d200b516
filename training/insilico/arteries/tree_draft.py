"""A tree of blood vessels while it grows: segments are added one by one or a lobe at a time, widths come last."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from inference.anatomy import Lobe
from inference.geometry import Grid
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import ends_supplied
from training.insilico.arteries.volume_filling import fill, within

MURRAY_EXPONENT = 2.33
"""Flow goes with this power of width; C. D. Murray (PNAS 1926;12:207) had 3. Least energy gives 2.33 for pulmonary
arteries of all widths, in agreement with casts (Nakamura and Awa, Physiol Rep 2014;2:e00236); trunk and main arteries
of 120 healthy people have 2.3 (our sum from the mean widths measured by cine MR,
10.1186/s12968-016-0230-9). CT and MR of 16 people, children included, gave 2.92 +- 1.07 (Dong, Am J Physiol Heart Circ
Physiol 2020;319:H432)."""
LOBAR_STEP = 0.25
"""Way to the middle of the lobe that the vessel of a lobe goes before it divides. Ours, by eye: near the hilum."""


@dataclass(slots=True)
class TreeDraft:
    """Segments so far; a child is added after its parent."""

    start_mm: list[Float[np.ndarray, "3"]] = field(default_factory=list)
    end_mm: list[Float[np.ndarray, "3"]] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    lobe: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    ends: int = 0

    def add(
        self,
        parent: int,
        start_mm: Float[np.ndarray, "3"],
        end_mm: Float[np.ndarray, "3"],
        lobe: int,
        *,
        ends_here: bool = False,
    ) -> int:
        """The number of a new segment.

        Args:
            parent: -1 for the first.
            start_mm: LPS.
            end_mm: LPS.
            lobe: that it supplies; 0 for several.
            ends_here: it gets the next number of an end.
        """
        self.start_mm.append(start_mm)
        self.end_mm.append(end_mm)
        self.parent.append(parent)
        self.lobe.append(int(lobe))
        self.end.append(self.ends if ends_here else -1)
        self.ends += bool(ends_here)
        return len(self.parent) - 1

    def grow_lobe(
        self,
        stem: int,
        lobe: Lobe,
        places_mm: Float[np.ndarray, "places 3"],
        inside: Bool[np.ndarray, "slices rows columns"],
        grid: Grid,
        *,
        parts: int,
        chance: np.random.Generator,
    ) -> None:
        """The vessel of a lobe, from the end of `stem`, and all that it divides into, down to every place.

        Args:
            stem: number of the segment that it leaves.
            lobe: its lobe.
            places_mm: where its ends are to be, LPS.
            inside: the lobe.
            grid: of `inside`.
            parts: number of equal parts that are made first.
            chance: for uneven division.
        """
        start = self.end_mm[stem]
        if len(places_mm) == 1:
            self.add(stem, start, places_mm[0], lobe, ends_here=True)
            return
        entry = start + LOBAR_STEP * (places_mm.mean(axis=0) - start)
        if not within(entry[None], inside, grid)[0]:
            entry = places_mm[np.argmin(np.linalg.norm(places_mm - entry, axis=1))]
        root = self.add(stem, start, entry, lobe)
        grown = fill(start, entry, places_mm, parts=parts, inside=inside, grid=grid, chance=chance)
        for first, last, parent, place in zip(
            grown.start_mm, grown.end_mm, grown.parent.tolist(), grown.place.tolist(), strict=True
        ):
            self.add(root + 1 + parent, first, last, lobe, ends_here=place >= 0)

    def finished(self, trunk_radius_mm: float) -> ArterialTree:
        """The tree, with widths after Murray's law: each end carries the same flow in a healthy body."""
        tree = ArterialTree(
            start_mm=np.array(self.start_mm),
            end_mm=np.array(self.end_mm),
            parent=np.array(self.parent, dtype=np.int32),
            radius_mm=np.zeros(len(self.parent)),
            lobe=np.array(self.lobe, dtype=np.int32),
            end=np.array(self.end, dtype=np.int32),
        )
        supplied = ends_supplied(tree)
        tree.radius_mm[:] = trunk_radius_mm * (supplied / max(int(supplied[0]), 1)) ** (1.0 / MURRAY_EXPONENT)
        return tree
