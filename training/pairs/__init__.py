"""The hospital's own pairs: a CT and a perfusion SPECT or PET of one patient, and how they lie on each other.

Read `pair.py` (what a pair is), then `linking.py` (where the SPECT lies on the CT).
"""
