"""How the figures came about, and what they cannot say."""

from training.report.chapter import Chapter
from training.report.document import Folded, Heading, Part, Row, Table, Text
from training.report.families import in_order, label
from training.report.results import StudyResults

_LIMITS = """
- **Nobody is real.** The network learned the rules by which a computer made these patients. How far they are those of
  patients is told in [the report on the cohort's realism](../cohort-realism.md), and where they are not.
- **The truth is at SPECT resolution**, blurred as the SPECT blurs. Structure finer than that is not judged.
- **Lungs and lobes are the true ones**, so no error of a segmentation is in these figures unless the table below says
  otherwise.
- **{patients} patients are few.** Intervals show it. Patients of one fold share a network, and two folds share a part
  of their training patients, so intervals are a little too narrow.
- **The budget of steps is small and equal for all networks.** A peer that learns more slowly may do better with more.
- **What a CT does not show cannot be predicted.** Some causes of low perfusion, such as embolism, leave no trace in
  these CTs; so the ceiling of a network is below the noise ceiling, by how much is not known.
"""
_WORDS = """
- **SPECT, truth.** Figures are against the simulated SPECT unless they say truth, which is the true perfusion at SPECT
  resolution. Maps are relative: 1 is the mean over both lungs of the same map.
- **Noise ceiling.** What the truth itself scores against the SPECT: noise, misalignment and breathing leave no more.
- **Eroded lungs.** Voxels at least one resolution of the patient's SPECT (full width at half maximum) inside the lungs'
  surface. On the whole lungs a blurred outline already scores high.
- **Trivial predictors.** The blurred outline of the lungs, with gravity (−2.6 % per cm of height), with the perfused
  tissue that the CT number means; nothing is fitted.
- **High and low.** Each map cut at its own median (50/50) or at its own 34th percentile (66/34). Chance gives a DSC
  equal to the part's share of the lungs.
- **Folds.** Every patient with lung cancer is tested exactly once per seed, by a network that never saw the patient.
"""


def method_chapter(results: StudyResults) -> Chapter:
    """Limits, words, arms, and the command that makes this page."""
    study = results.recipe.study
    digest = next(iter(results.done.values())).job.cases_sha256
    commands = (
        "`perfnode study prepare COHORT --out OUT`, `perfnode study run OUT`, `perfnode study report OUT` made this "
        f"page from the cohort of `perfnode cohort make`. Study `{study.name}`; prepared cases sha256 `{digest}`; "
        f"input: {', '.join(study.input.channels)} on voxels of {_millimetres(study.input.spacing_mm)} mm. Every score "
        "of every patient is in [patients.csv](patients.csv), the main figures for programs in "
        "[figures.json](figures.json)."
    )
    masks = sorted({facts.mask for facts in results.facts.values()})
    words = _WORDS + (f"- **Lungs and lobes** of the tested patients: {', '.join(masks)}.\n" if masks else "")
    parts: tuple[Part, ...] = (
        Heading("What these figures cannot say"),
        Text(_LIMITS.replace("{patients}", str(len(results.main.patients)))),
        Heading("Words"),
        Text(words),
        Folded("The arms, as the recipe states them", (_arms(results),)),
        Heading("How this page was made"),
        Text(commands),
    )
    return Chapter(parts)


def _arms(results: StudyResults) -> Table:
    rows = [
        Row((label(name, results.recipe), f"`{name}`", results.recipe.arm(name).statement))
        for name in in_order({arm.name: arm for arm in results.recipe.arms}, results.recipe)
    ]
    return Table(("arm", "in the recipe", "what is done"), tuple(rows), words=frozenset({0, 1, 2}))


def _millimetres(spacing_mm: tuple[float, float, float]) -> str:
    return " × ".join(f"{each:g}" for each in spacing_mm)
