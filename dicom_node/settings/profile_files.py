"""Profile files: a name that the node ships with, or a file of the site → `StructureSetProfile`."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from dicom_node.objects.codes import RoiType
from dicom_node.objects.contours import MOST_POINTS
from dicom_node.objects.profile import Sets, StructureGroup, StructureSetProfile


class _Profile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    basis: str = ""
    name_separator: Literal["^", "_"] = "^"
    label: Annotated[str, StringConstraints(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]+$")] = "PERF RESEARCH"
    function_roi_type: RoiType = RoiType.ORGAN
    sets: Sets = Sets.ONE
    structures: Annotated[list[StructureGroup], Field(min_length=1)] = list(StructureGroup)
    most_points: Annotated[int, Field(ge=100, le=MOST_POINTS)] = MOST_POINTS


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with the node."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in files("configs").joinpath("profiles").iterdir()))


def read_profile(name_or_path: str, base: Path) -> StructureSetProfile:
    """Read a profile that the node ships with, or a file of the site.

    Args:
        name_or_path: a name from `shipped_profiles`, or a path that ends in `.toml`.
        base: folder that a relative path starts from.

    Raises:
        ValueError: there is no such profile, or it has mistakes; the message names each.
    """
    if name_or_path.endswith(".toml"):
        source = base / name_or_path
    elif name_or_path in shipped_profiles():
        source = files("configs").joinpath("profiles", f"{name_or_path}.toml")  # type: ignore[assignment]
    else:
        raise ValueError(
            f"unknown profile {name_or_path!r}; known are {', '.join(shipped_profiles())}, or a .toml file"
        )
    try:
        profile = _Profile.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except OSError as fault:
        raise ValueError(f"the profile {name_or_path} cannot be read: {fault}") from fault
    except ValidationError as fault:
        mistakes = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors())
        raise ValueError(f"profile {name_or_path}: {mistakes}") from fault
    except ValueError as fault:  # not TOML, not UTF-8
        raise ValueError(f"profile {name_or_path}: {fault}") from fault
    facts = profile.model_dump()
    return StructureSetProfile(**{**facts, "structures": tuple(dict.fromkeys(facts["structures"]))})
