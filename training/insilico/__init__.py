"""The in-silico cohort: invented patients whose perfusion is known, with CT and SPECT as a hospital would have them.

Read `generation.py` first: one patient from number to files, top to bottom. It asks `person.py` (who), `body.py` (the
body on a grid), `arterial_tree.py` (blood vessels and flow), `disease.py` and the diseases (what is wrong),
`perfusion.py` (the truth), `ct_scanner.py` and `spect_scanner.py` (what machines see of it). Nothing here is a patient,
and no figure on these cases can be compared with a clinical one.
"""
