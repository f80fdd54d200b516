"""Weights from outside: what was published, what an honest file looks like, and the store that keeps checked ones."""
