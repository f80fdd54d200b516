"""The torture itself, half a minute of it: nothing happens that never may. `make torture` measures, too."""

from pathlib import Path

import pytest

from tests.torture.run import Plan, torture
from tests.torture.storm import Turns


@pytest.mark.slow  # `make torture`
def test_half_a_minute_of_torture_loses_and_falsifies_nothing(tmp_path: Path) -> None:
    turns = Turns(calm_s=1.0, gathering_s=2.0, storm_s=4.0)
    plan = Plan(seconds=25.0, faults=60, seed=1, sockets=100, cut_step=11, with_tls=False, turns=turns)
    figures = torture(plan, tmp_path)
    assert figures.violations == [], figures.table()
    assert figures.injected > 500, figures.table()
    for name in ("C-ECHO unanswered", "lines in the log that are no events"):
        assert next(line for line in figures.lines if line.name == name).kept, figures.table()
