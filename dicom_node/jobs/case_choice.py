"""What a person chose for one case in place of what is in force: another function rule, another model.

    cases/<case id>/choice.json     absent where the settings of the site hold

It is made when a case is processed anew and holds until that happens again. Every stage works with it, it is part of
the digest of the settings and so of every UID, and every object says so. What it gives goes nowhere before a person has
released it, since nobody has put that model or that rule into force.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

from dicom_node.durable_files import write_json
from dicom_node.jobs.cases import CaseFolder

CHOSEN_BY_PERSON = "CHOSEN_BY_PERSON"
"""Code of the finding that says so."""
_FILE = "choice.json"


@dataclass(frozen=True, slots=True)
class CaseChoice:
    """The choice for one case; empty fields are as the site has them."""

    function_rule: str = ""
    """A name in `inference.function_regions.RULES`."""
    model: str = ""
    """`name@version` of a model in the registry."""
    model_sha256: str = ""
    """Of what decides the numbers of its maps."""

    @property
    def is_made(self) -> bool:
        """Whether anything was chosen."""
        return bool(self.function_rule or self.model)

    def digest(self) -> str:
        """SHA-256 of the choice."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def sentence(self) -> str:
        """For whoever reads an object."""
        parts = [f"function rule {self.function_rule}"] if self.function_rule else []
        parts += [f"model {self.model}"] if self.model else []
        return f"CHOSEN BY A PERSON for this case, not by the settings of the site: {', '.join(parts)}."


NO_CHOICE = CaseChoice()


def read_choice(folder: CaseFolder) -> CaseChoice:
    """What was chosen for a case; an empty choice for nothing."""
    try:
        return CaseChoice(**json.loads((folder.path / _FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return NO_CHOICE


def write_choice(folder: CaseFolder, choice: CaseChoice) -> None:
    """Keep a choice durably; an empty one removes what was chosen before."""
    if choice.is_made:
        write_json(folder.path / _FILE, asdict(choice))
    else:
        (folder.path / _FILE).unlink(missing_ok=True)
