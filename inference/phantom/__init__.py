"""The digital thorax: invented patients whose lungs, lobes, lesions and perfusion are known by construction.

Read `thorax.py` first, then `build.py` (all numbers of one patient), `conditions.py` and `cases.py` (what can be
wrong).
"""
