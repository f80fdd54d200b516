"""What the models found: findings, lobar table, function rule, who made it, and how sure they are.

Everything is read from the small facts beside the arrays of a result. Only the mean HU of the lobes needs arrays; it is
asked for apart, and slice by slice, so that a page takes neither time nor memory for it.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from dicom_node.commissioning.figures import shown_unit
from dicom_node.errors import ChoiceRefused
from dicom_node.jobs.cases import CaseFolder
from dicom_node.settings.case_settings import case_settings
from dicom_node.settings.config import NodeSettings
from dicom_node.web.case import said
from dicom_node.web.case.said import CaseMaker, FindingSaid, LobeRow, ResultSaid, finite
from dicom_node.web.case.wording import SEVERITIES
from dicom_node.web.viewer.mapped_arrays import mapped_array
from inference.anatomy import Lobe, Side, lobes_of
from inference.lobar import together
from inference.quality.findings import Severity
from inference.quality.table import CHECKS
from inference.volumes import FunctionBasis, FunctionRule, LobarPerfusion

_TITLES: Final = {Side.RIGHT: "Right lung", Side.LEFT: "Left lung"}
_PLACES: Final = {"U": "Upper lobe", "M": "Middle lobe", "L": "Lower lobe"}
_STRUCTURES: Final = ("STRUCTURE_", "NO_STRUCTURE_")
"""How codes begin of findings about structures that were to be subtracted."""
Facts = Mapping[str, Any]


def result_said(facts: Facts, folder: CaseFolder, settings: NodeSettings, software: str) -> ResultSaid:
    """What a result says.

    Args:
        facts: content of `result.json`.
        folder: of the case.
        settings: in force now.
        software: version of the node that made the objects, as they say it.
    """
    findings = [_finding(entry) for entry in facts["findings"]]
    rule = FunctionRule(**{**facts["rule"], "basis": FunctionBasis(facts["rule"]["basis"])})
    digest = str(folder.object_facts().get("settings_digest", "")) if folder.contents.exists() else ""
    return ResultSaid(
        findings=sorted(
            (f for f in findings if not f.code.startswith(_STRUCTURES)), key=lambda f: _GRAVEST.index(f.severity)
        ),
        lobes=_lobes(facts),
        rule=rule.statement(),
        makers=[_maker("Map", facts["model"], facts), _maker("Lobes", facts["segmenter"], facts)],
        software=software,
        settings_sha256=digest,
        settings_in_force=_is_in_force(digest, folder, settings) if digest else None,
        subtracted=[f for f in findings if f.code.startswith(_STRUCTURES)],
        uncertainty=_uncertainty(facts.get("uncertainty")),
        domain=_domain(facts.get("domain")),
    )


def _is_in_force(digest: str, folder: CaseFolder, settings: NodeSettings) -> bool:
    """Whether the case, made anew with what was chosen for it, would be made with the same settings."""
    try:
        return case_settings(settings, folder).settings_digest() == digest
    except ChoiceRefused:
        return False


_GRAVEST: Final = [Severity.REJECT.value, Severity.FLAG.value, Severity.NOTE.value]


def _finding(entry: Facts) -> FindingSaid:
    check, severity = CHECKS.get(entry["code"]), Severity(entry["severity"])
    return FindingSaid(
        code=entry["code"],
        severity=severity.value,
        meaning=SEVERITIES[severity],
        sentence=entry["sentence"],
        measures=check.measures if check else "",
        measured=finite(entry["measured"]),
        limit=finite(entry["limit"]),
        unit=shown_unit(entry["unit"]),
    )


def _lobes(facts: Facts) -> list[LobeRow]:
    """Right lung, its lobes, left lung, its lobes, both lungs."""
    table = {lobe: LobarPerfusion(**facts["lobar"][lobe.name]) for lobe in Lobe}
    regions = (facts.get("uncertainty") or {}).get("regions", {})
    rows = []
    for side, title in _TITLES.items():
        lobes = lobes_of(side)
        rows.append(_row(title, side.tg263, together(table[lobe] for lobe in lobes), regions, is_sum=True))
        rows += [_row(_PLACES[lobe.name[1]], lobe.tg263, table[lobe], regions, is_sum=False) for lobe in lobes]
    return [*rows, _row("Both lungs", "Lungs", together(table.values()), regions, is_sum=True)]


def _row(title: str, tg263: str, part: LobarPerfusion, regions: Facts, *, is_sum: bool) -> LobeRow:
    reach = regions.get(tg263) or {}

    def percent(share: float | None) -> float | None:
        return None if share is None or not part.volume_ml else 100.0 * share

    return LobeRow(
        title=title,
        tg263=tg263,
        is_sum=is_sum,
        volume_ml=part.volume_ml,
        mean_percent=percent(part.mean_perfusion),
        below_percent=percent(reach.get("below")),
        above_percent=percent(reach.get("above")),
        share_percent=100.0 * part.perfusion_fraction,
        high_percent=percent(part.high_fraction),
        low_percent=percent(part.low_fraction),
    )


def _maker(part: str, identity: Facts, facts: Facts) -> CaseMaker:
    ran = [
        f"{each['device']}, {each['precision']}, {each['rung']}" + (f" after {each['why']}" if each["why"] else "")
        for each in facts.get("execution", ())
        if each["network"] == identity["name"]
    ]
    return CaseMaker(part=part, ran=ran, **identity)


def _uncertainty(known: Facts | None) -> said.Uncertainty | None:
    if known is None:
        return None
    interval = known["interval"] or {}
    return said.Uncertainty(
        mean_spread_percent=100.0 * known["mean_spread"],
        level_percent=100.0 * interval["level"] if interval else None,
        calibrated_on=interval.get("calibrated_on", ""),
    )


def _domain(known: Facts | None) -> said.Domain | None:
    if known is None:
        return None
    deviations = [
        said.Deviation(
            name=each["name"],
            unit=shown_unit(each["unit"]),
            **{name: finite(each[name]) for name in ("measured", "low", "high", "distance")},
        )
        for each in known["deviations"]
    ]
    return said.Domain(score=known["score"], trained_on=known["trained_on"], deviations=deviations)


# -- density of the lobes ----------------------------------------------------------------------------------------------


def densities(folder: CaseFolder) -> said.Densities:
    """Mean HU of lungs and lobes.

    Raises:
        FileNotFoundError: there is no result.
    """
    return _densities(folder.ct, folder.result, folder.result.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _densities(ct: Path, result: Path, written_ns: int) -> said.Densities:
    count = len(Lobe) + 1
    voxels, total_hu = np.zeros(count), np.zeros(count)
    for hu, labels in zip(mapped_array(ct, "hu"), mapped_array(result, "labels"), strict=True):
        voxels += np.bincount(labels.ravel(), minlength=count)
        total_hu += np.bincount(labels.ravel(), weights=hu.ravel(), minlength=count)
    regions = {lobe.tg263: [lobe] for lobe in Lobe} | {side.tg263: list(lobes_of(side)) for side in Side}
    regions["Lungs"] = list(Lobe)
    return said.Densities(
        mean_hu={
            name: float(total_hu[lobes].sum() / voxels[lobes].sum())
            for name, lobes in regions.items()
            if voxels[lobes].sum()
        }
    )
