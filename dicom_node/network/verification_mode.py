"""How a destination is asked whether it has kept what it was sent; the word in the site file."""

from enum import StrEnum


class Verify(StrEnum):
    """A way of asking, and the service by which an instance was confirmed."""

    AUTO = "auto"
    """By commitment if it offers it and answers at once, else by query if it offers that, else not at all."""
    COMMITMENT = "commitment"
    """By Storage Commitment; anything else counts as not confirmed."""
    FIND = "find"
    """By C-FIND, or QIDO-RS on the web: the archive lists the instance."""
    NONE = "none"
    """Not at all: its C-STORE status is all that is known."""
