"""The tables of `docs/objects.md`, made from the tables in code: `python -m dicom_node.conformance docs/objects.md`.

A document that is written by hand beside the code soon says something else. Text between two marks

    <!-- table: NAME -->
    <!-- end -->

is replaced; everything else stays. A test makes the page anew and compares.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dicom_node.checks.faults import RULES
from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm, Structure
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind
from dicom_node.orders import DEFAULT_KINDS, NEEDS
from dicom_node.profile_files import read_profile, shipped_profiles
from inference.anatomy import Lobe, Side

_BLOCK = re.compile(r"(<!-- table: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def objects_table() -> str:
    """Every kind of object with its class, series and content."""
    rows = []
    for kind, series in OBJECT_SERIES.items():
        if kind is ObjectKind.REFUSAL_NOTICE:
            ordered = "unless `refusal_notice = false`"
        else:
            needs = f"needs {', '.join(NEEDS[kind])}" if kind in NEEDS else "on order"
            ordered = "by default" if kind in DEFAULT_KINDS else needs
        rows.append(
            (
                f"`{kind}`",
                f"{series.sop_class_uid.name} {series.sop_class_uid}",
                f"{series.modality}, {series.series_number}",
                series.series_description,
                series.holds,
                ordered,
            )
        )
    heads = ("kind", "SOP class", "modality, series number", "Series Description", "holds", "sent")
    return _table(heads, rows)


def structures_table() -> str:
    """Every region with its name, code and colour."""
    structures: dict[str, Structure] = {
        codes.RoiName.LUNGS: codes.LUNGS_STRUCTURE,
        **{side.tg263: codes.SIDE_STRUCTURES[side] for side in Side},
        **{lobe.tg263: codes.LOBE_STRUCTURES[lobe] for lobe in Lobe},
        codes.RoiName.HIGH: codes.FUNCTION_STRUCTURE,
        codes.RoiName.LOW: codes.FUNCTION_STRUCTURE,
    }
    rows = [
        (
            f"`{name}`",
            _term(structure.category),
            _term(structure.type),
            _term(structure.laterality) if structure.laterality else "",
            ", ".join(str(part) for part in codes.COLOURS[name]),
        )
        for name, structure in structures.items()
    ]
    return _table(("ROI name, segment label", "category", "type", "laterality", "colour (R, G, B)"), rows)


def concepts_table() -> str:
    """Every coded concept that objects use."""
    terms = {name: term for name, term in vars(codes).items() if isinstance(term, CodedTerm) and name[0] != "_"}
    rows = [(name.lower().replace("_", " "), _term(term)) for name, term in sorted(terms.items())]
    return _table(("role", "(code, scheme, meaning)"), rows)


def profiles_table() -> str:
    """Every shipped profile and what it chooses."""
    rows = []
    for name in shipped_profiles():
        profile = read_profile(name, Path())
        rows.append(
            (
                f"`{profile.name}`",
                f"`{profile.name_separator}`",
                profile.label,
                profile.function_roi_type,
                profile.sets,
                ", ".join(profile.structures),
                str(profile.most_points),
                profile.basis,
            )
        )
    heads = (
        "profile", "separator", "label", "type of function regions", "sets", "structures", "points of a contour",
        "where the differences come from",
    )  # fmt: skip
    return _table(heads, rows)


def rules_table() -> str:
    """Every rule of our own checker."""
    return _table(("code", "what must hold"), [(f"`{code}`", meaning) for code, meaning in RULES.items()])


TABLES: Mapping[str, Callable[[], str]] = {
    "objects": objects_table,
    "structures": structures_table,
    "concepts": concepts_table,
    "profiles": profiles_table,
    "rules": rules_table,
}


def rewritten(page: str) -> str:
    """The page with every table made anew.

    Raises:
        KeyError: the page asks for a table that does not exist.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}{found[3]}", page)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _term(term: CodedTerm) -> str:
    return f"({term.value}, {term.scheme}, {term.meaning})"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
