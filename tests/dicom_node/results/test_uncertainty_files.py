"""Uncertainty and distance of a result survive the way through files, and are missed by nobody where there are none."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from dicom_node.output import print_lobar_table
from dicom_node.results.result_files import read_result, write_result
from inference.engine import FoundLobes, PerfusionResult, perfuse
from inference.fingerprint import Fingerprint, UsualRange
from inference.function_regions import DEFAULT_RULE
from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from inference.uncertainty import REGIONS, ConformalInterval, uncertainty_of
from inference.volumes import CtVolume, LobeMap, PerfusionMap


class Known:
    """An engine that gives the true map with an uncertainty and a distance."""

    def __init__(self, thorax: DigitalThorax, *, interval: bool = True) -> None:
        shape = (2, 2, 5)
        labels = np.arange(20, dtype=np.uint8).reshape(shape) % 6
        maps = np.random.default_rng(2).random((3, *shape)).astype(np.float32)
        frame = thorax.ct.grid.frame_of_reference_uid
        grid = Grid.axial(shape, (8.0, 8.0, 8.0), (1.0, 2.0, 3.0), frame_of_reference_uid=frame)
        width = (0.1, 0.2, 0.3)
        known = ConformalInterval(0.9, 0.8, (11, 11, 11), width, {REGIONS[0]: width}, 0.2, "Nobody.")
        fingerprint = Fingerprint({"noise": UsualRange(2.0, 1.0, 3.0, "1")}, 1.5, 0.02, 9, "Nobody, in silico.")
        self._map = replace(
            thorax.perfusion,
            uncertainty=uncertainty_of(maps, labels > 0, labels, grid, known if interval else None),
            domain=fingerprint.distance({}),  # not measured: not a number
        )

    @property
    def identity(self) -> object:
        return self._map.model

    def predict(self, ct: CtVolume, lobes: LobeMap) -> PerfusionMap:
        return self._map


def kept(thorax: DigitalThorax, folder: Path, result: PerfusionResult) -> PerfusionResult:
    write_result(folder / "result.npz", result)
    return read_result(folder / "result.npz")


def perfused(thorax: DigitalThorax, engine: Known) -> PerfusionResult:
    return perfuse(thorax.ct, FoundLobes(thorax.lobes, ()), engine, DEFAULT_RULE)  # type: ignore[arg-type]


def test_what_an_ensemble_knows_is_read_as_it_was_written(thorax: DigitalThorax, tmp_path: Path) -> None:
    result = perfused(thorax, Known(thorax))
    read = kept(thorax, tmp_path, result)
    assert read.content_sha256() == result.content_sha256()
    before, after = result.perfusion.uncertainty, read.perfusion.uncertainty
    assert before is not None
    assert after is not None
    assert before.interval is not None
    assert after.interval is not None
    assert after.interval.document() == before.interval.document()
    assert after.grid.matches(before.grid)
    assert after.regions == before.regions
    assert read.perfusion.domain is not None
    assert read.perfusion.domain.limit == 1.5


def test_the_facts_are_json_that_any_program_reads(thorax: DigitalThorax, tmp_path: Path) -> None:
    kept(thorax, tmp_path, perfused(thorax, Known(thorax, interval=False)))
    facts = json.loads((tmp_path / "result.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert facts["uncertainty"]["interval"] is None
    assert facts["domain"]["deviations"][0]["measured"] is None


def test_a_result_of_another_engine_has_neither(thorax: DigitalThorax, tmp_path: Path) -> None:
    engine = Known(thorax)
    engine._map = thorax.perfusion
    read = kept(thorax, tmp_path, perfused(thorax, engine))
    assert read.perfusion.uncertainty is None
    assert read.perfusion.domain is None
    assert not {"uncertainty", "domain"} & set(json.loads((tmp_path / "result.json").read_text()))


def test_the_console_shows_spread_ranges_and_distance_where_they_are_known(
    thorax: DigitalThorax, tmp_path: Path
) -> None:
    def shown(engine: Known) -> str:
        kept(thorax, tmp_path, perfused(thorax, engine))
        console = Console(file=StringIO(), width=400)
        print_lobar_table(console, json.loads((tmp_path / "result.json").read_text()))
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    engine = Known(thorax)
    said = shown(engine)
    assert "networks differ by" in said
    assert "for 90 % of patients" in said
    assert "Lung_RUL -" in said
    assert "Lung_RML -" not in said  # was not calibrated
    assert "distance of the CT from the training of the model: 66.00" in said  # 99, as far as can be told, by 1.5
    engine._map = thorax.perfusion
    assert "networks differ" not in shown(engine)
