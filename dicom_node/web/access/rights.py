"""What a person may do at the page, by the role that the site gave them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Right(StrEnum):
    """One thing that not everybody may do."""

    VIEW = "view"
    """See cases, maps and the state of the node; names and identifiers of patients are hidden."""
    SEE_PATIENTS = "see-patients"
    """See who the patients are."""
    OPERATE = "operate"
    """Send again, process anew, cancel, hurry; call peers."""
    APPROVE = "approve"
    """Release or reject what is held for a person, and rate results."""
    ADMINISTER = "administer"
    """See configuration, log and audit trail."""


class PageRole(StrEnum):
    """What a person is at this node; each role may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMINISTRATOR = "administrator"


RIGHTS: Final[dict[PageRole, frozenset[Right]]] = {
    PageRole.VIEWER: frozenset({Right.VIEW}),
    PageRole.OPERATOR: frozenset({Right.VIEW, Right.SEE_PATIENTS, Right.OPERATE}),
    PageRole.APPROVER: frozenset({Right.VIEW, Right.SEE_PATIENTS, Right.OPERATE, Right.APPROVE}),
    PageRole.ADMINISTRATOR: frozenset(Right),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in."""

    name: str
    """Under which decisions are recorded and views are audited."""
    role: PageRole
    address: str = ""
    """IP address that they ask from, for the audit trail."""
    session: str = ""
    """Tells several sign-ins of one person apart; no secret."""

    def may(self, right: Right) -> bool:
        """Whether the role has this right."""
        return right in RIGHTS[self.role]
