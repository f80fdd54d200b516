"""Is this CT fit, are these lungs and lobes plausible, is this map?

Every doubt is a `Finding` with its measured value and limit.

Read `checks.py` first, then `table.py` (all findings) and `policy.py` (what each one does).
"""
