"""Every input of the fuzzers' corpus once, without a fuzzer; what once found something stays there for good."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"
INPUTS = sorted(path for target in TARGETS for path in (CORPUS / target).iterdir())


@pytest.fixture(scope="module", autouse=True)
def _receiver_of_the_target() -> Iterator[None]:
    yield
    from fuzz.receiver_stream import stop

    stop()


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what it is fed here
@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_of_the_corpus_ends_in_a_documented_way(path: Path) -> None:
    import_module(TARGETS[path.parent.name]).one_input(path.read_bytes())


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in INPUTS) < 1_000_000
