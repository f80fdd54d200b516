"""Decisions of people: what may be decided about a case, asked once more, and what was decided and said so far."""
