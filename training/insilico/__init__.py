"""The in-silico cohort: invented patients whose perfusion is known, with CT and SPECT as a hospital would have them.

Read `generation.py` first: one patient from number to images, top to bottom. It asks the rooms in turn: `people` (who,
and the healthy body), `arteries`, `diseases`, `tissue` (what is left of it, and its blood), `ct` and `spect` (what
machines see). `files` keeps whole cohorts, `pages` draws a patient, `realism` holds all against published figures.
Nothing here is a patient, and no figure on these cases can be compared with a clinical one.
"""
