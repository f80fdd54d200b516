"""The pulmonary arteries, from the trunk to thousands of territories, and how blood divides among them.

Read `arteries.py`, then `flow.py`.
"""
