"""What becomes of received instances before they are a case: kept durably, filed by series, judged, handed over.

Read `spool` first, then `intake`.
"""
