"""What a model in shadow made of the same CT, if one looked at it."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from dicom_node.shadow.comparisons import FOLDER, CaseComparison
from dicom_node.web.case.said import Difference, Fact
from inference.map_comparison import MapComparison


def differences_said(registry: Path, case_id: str) -> list[Difference]:
    """Every comparison that is kept of a case, the newest first; there is one for each candidate.

    Args:
        registry: folder of the model registry.
        case_id: of the case.
    """
    return sorted((_difference(kept) for kept in _kept(registry, case_id)), key=lambda each: each.at, reverse=True)


def _kept(registry: Path, case_id: str) -> Iterator[CaseComparison]:
    for path in (registry / FOLDER).glob(f"*/{case_id}.json"):
        try:
            yield CaseComparison.of(json.loads(path.read_text()))
        except FileNotFoundError:  # forgotten in this moment, because it is old
            continue


def _difference(kept: CaseComparison) -> Difference:
    return Difference(
        at=datetime.fromisoformat(kept.at),
        candidate=kept.candidate,
        in_use=kept.in_use,
        code=kept.code,
        message=kept.message,
        figures=[] if kept.figures is None else _figures(kept.figures, kept.run_s),
    )


def _figures(figures: MapComparison, run_s: float) -> list[Fact]:
    rank = "not defined" if figures.spearman is None else f"{figures.spearman:.3f}"
    shares = ", ".join(f"{name} {points:+.1f}" for name, points in figures.lobar_percent_points.items())
    return [
        Fact(name="Mean difference", value=f"{figures.mean_difference_percent:+.2f} % of lung mean"),
        Fact(name="Mean absolute difference", value=f"{figures.mean_absolute_difference_percent:.2f} % of lung mean"),
        Fact(name="Rank correlation", value=rank),
        Fact(name="Dice of high-functional lung", value=f"{figures.dice_high:.3f}"),
        Fact(name="Dice of low-functional lung", value=f"{figures.dice_low:.3f}"),
        Fact(name="Share of perfusion, percentage points", value=shares),
        Fact(name="Time it took", value=f"{run_s:.1f} s"),
    ]
