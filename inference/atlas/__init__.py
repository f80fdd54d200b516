"""Lungs and lobes without weights: threshold and geometry, a lobar atlas, and the fissures where they can be seen.

Read `atlas_lobes.py` first: it calls `lungs.py`, `lobar_atlas.py` and `fissures.py`, which stand on the rest.
"""
