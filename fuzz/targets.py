"""Which targets there are, by the name that `python -m fuzz` and the folders of the corpus use."""

from typing import Final

TARGETS: Final = {
    "reader": "fuzz.series_reader",
    "receiver": "fuzz.receiver_stream",
    "structures": "fuzz.structure_reader",
}
"""Module of each; its function `one_input` takes the bytes."""
