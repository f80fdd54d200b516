"""A cohort on disk: whole patients or none, made by several processes, gone on with after any interruption.

Read `patient_files.py` (one patient), then `cohort.py` (all).
"""
