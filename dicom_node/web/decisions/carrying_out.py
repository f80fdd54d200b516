"""A decision as the page or the API was given it → the operation of the node that carries it out."""

from dicom_node.operations import Change, Operations
from dicom_node.review.decision import Action, Deciding, plain_text
from dicom_node.web.access.rights import Person
from dicom_node.web.decisions.said import DecisionAsked


def carry_out(node: Operations, case_id: str, asked: DecisionAsked, person: Person) -> Change:
    """Let a person decide.

    Args:
        node: whose case.
        case_id: whole id of the case.
        asked: what is decided.
        person: who decides; they have the right.

    Raises:
        ReasonMissing: the decision needs a reason.
        CaseChanged: the case is not any more as it was shown.
        NodeError: the node refuses for another reason; each leaf says why. Nothing was done.
    """
    action = asked.action.action
    deciding = Deciding(person.name, person.role, plain_text(asked.reason), asked.version)
    deciding.require_reason(action)
    match action:
        case Action.RELEASE:
            return node.release(case_id, asked.destination, deciding=deciding)
        case Action.DISCARD:
            return node.discard(case_id, asked.destination, deciding=deciding)
        case Action.RETRY:
            return node.retry(case_id, asked.destination, deciding=deciding)
        case Action.RERUN:
            rule, model = asked.function_rule, asked.model
            return node.rerun(case_id, function_rule=rule, model=model, deciding=deciding)
        case Action.PRIORITY:
            return node.prioritise(case_id, asked.priority, deciding=deciding)
        case _:
            return node.cancel(case_id, deciding=deciding)
