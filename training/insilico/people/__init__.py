"""Who an in-silico patient is, before anything is wrong: size, shape, breath, and the healthy body on a grid.

Read `person.py`, then `body.py`.
"""
