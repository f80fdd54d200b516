"""What a source of people says of somebody, and what every such source can tell."""

from dataclasses import dataclass
from typing import Protocol

from starlette.types import Scope

from dicom_node.web.access.rights import PageRole
from dicom_node.web.access.sessions import Session


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for somebody now."""

    name: str
    role: PageRole
    mark: str
    """Changes with whatever ends the sessions of before."""


class People(Protocol):
    """Who may be signed in: accounts of the node, people of an OpenID provider, or those whom a proxy names."""

    def standing(self, session: Session) -> Standing | None:
        """What holds now for somebody who signed in before; None ends the session."""

    def announced(self, scope: Scope) -> Standing | None:
        """Who this request is from without a sign-in of ours; None where people sign in at a form."""
