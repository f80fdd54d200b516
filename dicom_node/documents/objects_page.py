"""The tables of `docs/objects.md`: what the node returns."""

from collections.abc import Callable, Mapping
from pathlib import Path

from dicom_node.checks.faults import RULES
from dicom_node.documents.page import table
from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm, Structure
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind
from dicom_node.settings.orders import DEFAULT_KINDS, NEEDS
from dicom_node.settings.profile_files import read_profile, shipped_profiles
from inference.anatomy import Lobe, Side


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
    return table(heads, rows)


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
    return table(("ROI name, segment label", "category", "type", "laterality", "colour (R, G, B)"), rows)


def concepts_table() -> str:
    """Every coded concept that objects use."""
    terms = {name: term for name, term in vars(codes).items() if isinstance(term, CodedTerm) and name[0] != "_"}
    rows = [(name.lower().replace("_", " "), _term(term)) for name, term in sorted(terms.items())]
    return table(("role", "(code, scheme, meaning)"), rows)


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
    return table(heads, rows)


def rules_table() -> str:
    """Every rule of our own checker."""
    return table(("code", "what must hold"), [(f"`{code}`", meaning) for code, meaning in RULES.items()])


TABLES: Mapping[str, Callable[[], str]] = {
    "objects": objects_table,
    "structures": structures_table,
    "concepts": concepts_table,
    "profiles": profiles_table,
    "rules": rules_table,
}


def _term(term: CodedTerm) -> str:
    return f"({term.value}, {term.scheme}, {term.meaning})"
