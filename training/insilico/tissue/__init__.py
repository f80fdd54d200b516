"""What the lungs are made of at each place, and the perfusion that follows.

Read `lung_tissue.py`, then `perfusion.py`.
"""
