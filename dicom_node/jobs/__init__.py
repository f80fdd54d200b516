"""Durable work: cases, their stages and attempts, as rows that outlive any process.

Read `cases.py` (what a case is), `stages.py` (what is done to it), `attempts.py` (its state as seen from the rows) and
`jobs.py` (orders and questions). Only files of this room, and what adopts and runs the engine in `serving`, know DBOS.
"""
