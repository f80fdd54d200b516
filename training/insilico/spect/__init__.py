"""A gamma camera with its protocol, and the SPECT it makes of true perfusion.

Read `spect_scanner.py` first.
"""
