"""What `perfnode serve` starts: receiver, engines, chores, and the takeover of a dead host's work.

Read `service.py` first.
"""
