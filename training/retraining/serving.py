"""Which model the node uses, asked by its public command: training does not know the node's settings.

`perfnode models list --json` reads the site file, checks the model and says where it lies. The command is run in a
process of its own, with the same Python.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from training.retraining.errors import ServingUnknown

_TIMEOUT_S = 120.0


@checked(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Serving:
    """The model that makes the maps of a site."""

    kind: Literal["bundle", "network", "densitometric"]
    folder: str
    """Of the model; empty for the densitometric baseline."""
    trusted_keys: tuple[str, ...]
    """Files with public keys that the site trusts."""


@dataclass(frozen=True, slots=True)
class _Command:
    words: tuple[str, ...]

    def json(self) -> dict[str, object]:
        done = subprocess.run(self.words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode:
            raise ServingUnknown(done.stderr.strip() or f"`perfnode models list` ended with status {done.returncode}")
        found = json.loads(done.stdout)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        return found


def serving_model(site: Path | None) -> Serving:
    """Ask which model a node uses.

    Args:
        site: its site file; None for the settings of a node without one.

    Raises:
        ServingUnknown: the command fails, or the model must not be used.
    """
    words = (sys.executable, "-m", "dicom_node", "models", "list", "--json")
    try:
        told = _Command((*words, *(("--config", str(site)) if site else ()))).json()["serving"]
        if isinstance(told, dict) and "problem" in told:
            raise ServingUnknown(str(told["problem"]))
        return TypeAdapter(Serving).validate_python(told)
    except (ValidationError, ValueError, KeyError, subprocess.SubprocessError) as fault:
        raise ServingUnknown(f"`perfnode models list --json` gave no answer ({type(fault).__name__})") from fault
