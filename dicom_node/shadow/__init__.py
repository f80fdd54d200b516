"""A model in shadow: whether it is to look at a case, what it made of each, and how that compares."""
