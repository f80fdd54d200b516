"""The patients of a cohort as a table."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.insilico.files.cohort import patient_folders, read_manifest
from training.insilico.files.patient_files import PatientFolder


def print_cohort(console: Console, folder: Path, *, verify: bool) -> bool:
    """Print one line for each patient and what is missing; false if something is missing or has changed.

    Args:
        console: where to print.
        folder: of a cohort.
        verify: read all files and compare their digests.

    Raises:
        NoPatient: the folder holds no cohort.
    """
    manifest = read_manifest(folder)
    table = Table("patient", "cohort", "hospital", "diseases", "MB", "state", box=None, pad_edge=False)
    all_well = True
    here = {str(each.patient): each for each in patient_folders(folder)}
    planned = [name for names in manifest["cohorts"].values() for name in names] + manifest["missing"]
    for name in [*sorted(planned, key=_order), *sorted(set(here) - set(planned), key=_order)]:
        if name not in here:
            table.add_row(name, "", "", "", "", "not made yet")
            all_well = False
            continue
        state, is_well = _state(here[name], manifest["digest"], is_planned=name in planned, verify=verify)
        all_well &= is_well
        table.add_row(name, *_facts(here[name]), state)
    console.print(table)
    console.print(f"{len(here)} of {len(planned)} patients; {manifest['what']}")
    return all_well


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith("NC"), name


def _state(each: PatientFolder, digest: str, *, is_planned: bool, verify: bool) -> tuple[str, bool]:
    if each.making_digest != digest:
        return "of another plan", False
    if not is_planned:
        return "not in the plan", True
    changed = each.changed_files() if verify else ()
    if changed:
        return f"changed: {', '.join(changed[:3])}{' ...' if len(changed) > 3 else ''}", False
    return ("whole, verified" if verify else "whole"), True


def _facts(each: PatientFolder) -> tuple[str, str, str, str]:
    record = each.record
    size_mb = record["bytes"] / 1e6
    diseases = ", ".join(str(d.get("name", "?")) for d in record.get("diseases", [])) or "none"
    hospital = record.get("hospital", "")
    name = hospital.get("name", "") if isinstance(hospital, dict) else hospital
    return str(record["cohort"]), str(name), diseases, f"{size_mb:.0f}"
