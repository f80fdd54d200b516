"""What stands before every handler: somebody is signed in, and may do this."""

from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from dicom_node.web.access.rights import Person, Right


class NotSignedIn(Exception):
    """Nobody is signed in, or the session has expired."""


def signed_in(request: Request) -> Person:
    """Who asks; put there by the middleware of sessions.

    Raises:
        NotSignedIn: nobody.
    """
    person: Person | None = getattr(request.state, "person", None)
    if person is None:
        raise NotSignedIn
    return person


def may(right: Right) -> Any:
    """Let in only whoever has a right; stands in the annotation of a parameter that is the person.

    Others are answered with 403.

    Args:
        right: that the handler asks for.
    """

    def check(person: Annotated[Person, Depends(signed_in)]) -> Person:
        if not person.may(right):
            raise HTTPException(403, f"NOT_ALLOWED: your role, {person.role}, does not include this ({right}).")
        return person

    return Depends(check)


def still_signed_in(request: Request) -> bool:
    """Whether the session of a request goes on; for answers that last, which end when it does.

    Args:
        request: that is being answered.
    """
    still: bool = request.app.state.sign_in.is_still_here(request.state.session_key)
    return still


Viewer = Annotated[Person, may(Right.VIEW)]
Operator = Annotated[Person, may(Right.OPERATE)]
Approver = Annotated[Person, may(Right.APPROVE)]
Administrator = Annotated[Person, may(Right.ADMINISTER)]
