"""A CT scanner with its protocol, and the CT it makes of a body.

Read `ct_scanner.py` first.
"""
