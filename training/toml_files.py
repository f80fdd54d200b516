"""TOML files with a fixed content: read strictly, and every mistake told at once, with the file and the key."""

import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

STRICT = ConfigDict(extra="forbid")

Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Text = Annotated[str, Field(min_length=1)]
T = TypeVar("T")


def parsed(path: Path, kind: type[T], problems: list[str]) -> T | None:
    """The content of one file as a pydantic dataclass, or None after adding its mistakes to `problems`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(kind).validate_python(document)
    except OSError as fault:
        problems.append(f"{path.name}: cannot be read: {fault.strerror}")
    except ValidationError as fault:  # before ValueError, of which it is one
        for error in fault.errors():
            key = ".".join(str(part) for part in error["loc"])
            got = "" if error["type"].startswith("missing") else f", got {error['input']!r}"
            problems.append(f"{path.name}: {key}: {error['msg']}{got}")
    except ValueError as fault:
        problems.append(f"{path.name}: not valid TOML: {fault}")
    return None
