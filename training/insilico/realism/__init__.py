"""How near the cohort comes to published figures: measured on what a hospital would have, beside the published value.

Read `published.py`, `realism.py` (one patient), then `cohort_report.py`.
"""
