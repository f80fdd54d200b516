"""The slices of a CT of a patient who breathes.

The table moves while the patient breathes, so each slice sees its own part of the breath: a fast scan catches the
diaphragm at another height every few slices (steps in coronal views), a slow one smears it, and the mean of a 4DCT
shows all of the breath in each slice. How deep the patient has breathed in at a moment is one number, so a breath is
a way through a few states, and what lies between two of them is mixed from both.
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.sparse import csr_array

from inference.geometry import Box, Grid
from training.insilico.people.breathing import Breathing, displaced

STATES = 6
"""From end-expiration to end-inspiration: 2 to 4 mm of the diaphragm's way lie between two of them."""
_MOMENTS = 32
"""Of the time that a slice takes."""
_WALL = 1.1
"""What moves lies within this many half axes of the rib cage."""

Volume = Float32[np.ndarray, "slices rows columns"]


def seen_states(
    heights_mm: Float[np.ndarray, " slices"],
    breathing: Breathing,
    *,
    seconds_per_slice: float,
    table_mm_per_s: float,
    start: float,
) -> Float[np.ndarray, "states slices"]:
    """How much of each slice was taken in each state of breath; adds up to 1 over the states.

    Args:
        heights_mm: where the slices lie along the table.
        breathing: of the patient.
        seconds_per_slice: how long each slice lies in the beam.
        table_mm_per_s: how fast the table goes.
        start: phase of the breath at height 0.
    """
    moments = ((np.arange(_MOMENTS) + 0.5) / _MOMENTS - 0.5) * seconds_per_slice
    phases = start + (heights_mm[:, np.newaxis] / table_mm_per_s + moments) / breathing.period_s
    levels = [breathing.inspiration(part.phase) for part in breathing.phases(STATES)]
    inspired = np.vectorize(breathing.inspiration)(phases)
    place = np.interp(inspired, levels, np.arange(STATES))
    shares = [np.maximum(1.0 - np.abs(place - k), 0.0).mean(axis=1) for k in range(STATES)]
    seen: np.ndarray = np.stack(shares)
    return seen


def breathing_slices(
    hu: Volume, body: Grid, weights: csr_array, seen: Float[np.ndarray, "states slices"], breathing: Breathing
) -> Volume:
    """The slices of a CT, still in the pixels of the body.

    Args:
        hu: the body at phase 0.
        body: its grid.
        weights: of the body's slices in the CT's (`ct_sampling.slice_weights`).
        seen: how much of each slice shows each state (`seen_states`).
        breathing: how the patient breathes.
    """
    slices: np.ndarray = (weights @ hu.reshape(hu.shape[0], -1)).reshape(-1, *hu.shape[1:])
    rows, columns = _trunk(body, breathing)
    slices[:, rows, columns] = 0.0
    for part, share in zip(breathing.phases(STATES), seen, strict=True):
        margin = math.ceil(abs(breathing.rise_mm(part.phase)) / body.spacing_mm[0]) + 1
        for run in _runs(share > 1e-4):
            needed = weights[run].indices
            first, last = max(int(needed.min()) - margin, 0), min(int(needed.max()) + margin + 1, body.shape[0])
            box: Box = (slice(first, last), rows, columns)
            moved = displaced(np.ascontiguousarray(hu[box]), body.cropped(box), breathing, part.phase)
            scanned = (weights[run][:, first:last] @ moved.reshape(moved.shape[0], -1)).reshape(-1, *moved.shape[1:])
            slices[run, rows, columns] += share[run].astype(np.float32)[:, np.newaxis, np.newaxis] * scanned
    return slices


def _trunk(body: Grid, breathing: Breathing) -> tuple[slice, slice]:
    """The rows and columns of the body's grid in which something moves."""
    (x, y), (wide, deep) = breathing.cage_middle_mm, (_WALL * half for half in breathing.cage_half_mm)
    corners = body.to_index(np.array([[x - wide, y - deep, 0.0], [x + wide, y + deep, 0.0]]))
    (top, left), (bottom, right) = np.floor(corners[0, 1:]).astype(int), np.ceil(corners[1, 1:]).astype(int) + 1
    rows = slice(max(int(top), 0), min(int(bottom), body.shape[1]))
    return rows, slice(max(int(left), 0), min(int(right), body.shape[2]))


def _runs(chosen: Bool[np.ndarray, " slices"]) -> Iterator[slice]:
    """Ranges of neighbouring slices that are chosen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))
