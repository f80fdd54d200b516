"""lungmask's own weights and semantics, several times its speed.

Read `lungmask_lobes.py` first; the other files are the steps it calls. The published package is imported as `lungmask`,
this room as `inference.lungmask`.
"""
