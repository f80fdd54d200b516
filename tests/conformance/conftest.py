"""Results that the tests of this folder look at from several sides; each is made once."""

from collections.abc import Callable

import pytest

from tests.conformance.cases import A0001, Case, a0001_instances, make_case, thorax_instances


@pytest.fixture(scope="session")
def case_of(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], Case]:
    """Makes the case of a source on its first use."""
    made: dict[str, Case] = {}

    def make(source: str) -> Case:
        if source not in made:
            real = source == A0001
            datasets = a0001_instances(request.getfixturevalue("test_data")) if real else thorax_instances(source)
            made[source] = make_case(datasets, tmp_path_factory.mktemp("case"))
        return made[source]

    return make
