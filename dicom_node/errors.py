"""Everything that can go wrong around the inference, as one tree.

    NodeError                              code, permanent
    ├─ ConfigurationError                  the site file; all mistakes at once; stops the start
    ├─ NodeAlreadyRunning                  another process holds the data directory
    ├─ NeverStarted                        nothing has been processed in this data directory yet
    ├─ SelfTestFailed                      the engines do not recognise the digital thorax; stops the start
    ├─ PortTestRefused                     the node did not take a CT that it sent to itself
    ├─ NoAnswerInTime                      the node has not come to an end with it
    ├─ ReferenceUnusable                   a reference set or a stored answer cannot be used
    ├─ DemoFailed                          the demo ended without everything it promises
    ├─ SpoolError                          the disk
    │  ├─ SpoolFull                        less free space than the limit; tried again by the sender
    │  ├─ InstanceConflict                 same SOP Instance UID, other bytes: refused, the first one stays
    │  ├─ InvalidInstance                  bytes that are no complete instance
    │  │  └─ InstanceMismatch              a complete instance, but not the one the peer announced
    │  └─ SeriesNotComplete                a series still arriving, or cut off, must not be taken for processing
    ├─ EncodingError                       an object could not be made from a result
    ├─ CheckFailed                         an object did not pass our own checks; nothing is sent
    ├─ ResultOvertaken                     another result of the series was published meanwhile; made again
    ├─ CaseOvertaken                       a result of more images of the series is out already; not sent
    ├─ StageCrashed                        a child process died; tried again
    │  ├─ StageOutOfMemory                 killed for memory, or memory ran out inside; a network tries another way
    │  └─ StageTooLong                     killed because it took too long
    ├─ UnknownCase                         no case of that id
    ├─ CaseNotRemovable                    a case that has not arrived everywhere, or that somebody works on
    ├─ BackupError                         a backup could not be made, is not whole, or must not be restored here
    ├─ NothingHeld                         nothing of the case waits for a person
    ├─ CaseChanged                         the case is not any more as the person who decides saw it
    ├─ ReasonMissing                       a decision that needs a reason has none
    ├─ TextTooLong                         a reason, or what a planner says, is longer than is kept
    ├─ ChoiceRefused                       a case cannot be made anew with this model or this function rule
    ├─ AccountRefused                      an account of the page cannot be made or changed so
    ├─ UnknownAccount                      the page has no account of that name
    ├─ SignInRefused                       name and password do not fit, or the person has no role here
    ├─ SignInTooOften                      too many tries in a short time; later again
    ├─ ProviderAway                        the OpenID provider cannot be asked
    ├─ RequestRefused                      a request that did not come from a form of the page, or is too old
    ├─ PortInUse                           somebody else listens where the page should; stops the start
    ├─ UnknownDestination                  nothing of the case was on its way to that destination
    ├─ UnknownSeries                       no series of that key waits or was put aside
    ├─ ArchiveError                        asking an archive, or fetching from it
    │  ├─ QueryRefused                     it answered a question with a failure
    │  ├─ QueryTooWide                     more answers than are taken; the question must be narrower
    │  ├─ RetrievalIncomplete              not everything asked for came; the series stays marked as interrupted
    │  └─ NodeBusy                         the node has too much to do, or too little disk, to fetch more now
    ├─ DownloadFailed                      weights could not be fetched from the internet
    ├─ AlertRefused                        a mail server or web hook did not take a message; sent again
    └─ DeliveryError                       per destination
       ├─ PeerUnreachable                  no association; tried again for as long as it takes
       │  └─ QueryInterrupted              an association was made, and ended without an answer
       ├─ DeliveryInterrupted              the status of an object is unknown; sent again with the same UID
       ├─ CommitmentRefused                the archive does not commit, or refused to be asked
       ├─ UnknownTransaction               a commitment came that nobody asked for
       └─ StoreRefused                     the peer answered with a failure

`permanent` decides what the durable engine does: a permanent error ends the case or the delivery with its code, any
other is tried again. Messages hold no patient data.
"""

from collections.abc import Sequence
from typing import ClassVar


class NodeError(Exception):
    """Root of all errors of this package."""

    code: ClassVar[str] = "NODE_ERROR"
    permanent: ClassVar[bool] = False


def code_of(fault: BaseException, otherwise: str) -> str:
    """The code of one of our errors; foreign ones, some of which have a code of another kind, get the other."""
    return fault.code if isinstance(fault, NodeError) else otherwise


class ConfigurationError(NodeError):
    """The site configuration cannot be used; carries every mistake found."""

    code = "CONFIGURATION"
    permanent = True

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} mistake(s) in {source}:{lines}")


class NodeAlreadyRunning(NodeError):
    """Another process works on the same data directory."""

    code = "NODE_ALREADY_RUNNING"
    permanent = True

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        super().__init__(f"Another node already uses {data_dir}.")


class NeverStarted(NodeError):
    """There is no journal: no node has worked in this data directory."""

    code = "NEVER_STARTED"
    permanent = True

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        super().__init__(f"No node has been started with the data directory {data_dir} yet.")


class SelfTestFailed(NodeError):
    """The engines gave a wrong answer, or none, for an input whose answer is known."""

    code = "SELF_TEST_FAILED"
    permanent = True

    def __init__(self, question: str, message: str) -> None:
        self.question = question
        super().__init__(message)


class PortTestRefused(NodeError):
    """The node does not take what it sends to its own port."""

    code = "PORT_TEST_REFUSED"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The node did not take a CT through its own port ({reason}). It calls under its own AE title: where the "
            "site has [[senders]], one of them must be the node itself."
        )


class NoAnswerInTime(NodeError):
    """The node is still at it, or has not begun."""

    code = "NO_ANSWER_IN_TIME"

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"The node has not answered within {limit_s:.0f} s; it may be busy, or hold the series.")


class ReferenceUnusable(NodeError):
    """What should be compared with cannot be read, or is nothing to compare with."""

    code = "REFERENCE_UNUSABLE"
    permanent = True

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"There is nothing to compare with: {reason}.")


class DemoFailed(NodeError):
    """The demo did not get everything back."""

    code = "DEMO_FAILED"
    permanent = True


class SpoolError(NodeError):
    """An instance could not be kept."""

    code = "SPOOL"


class SpoolFull(SpoolError):
    """Too little free space to keep another instance."""

    code = "SPOOL_FULL"

    def __init__(self, free_mb: float, needed_mb: float) -> None:
        self.free_mb = free_mb
        self.needed_mb = needed_mb
        super().__init__(f"The spool has {free_mb:.0f} MB free; at least {needed_mb:.0f} MB must stay free.")


class InstanceConflict(SpoolError):
    """An instance came again with the same UID and other bytes."""

    code = "INSTANCE_CONFLICT"
    permanent = True

    def __init__(self) -> None:
        super().__init__(
            "An instance with this SOP Instance UID and other content is already here; the first one stays."
        )


class InvalidInstance(SpoolError):
    """The bytes received are not the instance that was announced."""

    code = "INVALID_INSTANCE"
    permanent = True

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The received instance is not valid: {reason}.")


class InstanceMismatch(InvalidInstance):
    """The dataset names another instance or SOP class than the C-STORE request around it."""

    code = "INSTANCE_MISMATCH"


class SeriesNotComplete(SpoolError):
    """A series is still arriving, was cut off, or changed since it was looked at."""

    code = "SERIES_NOT_COMPLETE"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The series cannot be taken for processing: {reason}.")


class EncodingError(NodeError):
    """A result could not be written as a DICOM object."""

    code = "ENCODING"
    permanent = True

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(f"The {kind} could not be made: {reason}.")


class CheckFailed(NodeError):
    """Objects of a case have faults that would mislead their readers, so nothing is sent."""

    code = "CHECK_FAILED"
    permanent = True

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        """One sentence per kind of fault, with its code; without patient data."""
        more = f" (and {len(faults) - 3} more kinds of fault)" if len(faults) > 3 else ""
        super().__init__(f"The objects have faults: {' '.join(faults[:3])}{more}")


class ResultOvertaken(NodeError):
    """While a result was made, another one of the same series was published; what it says it supersedes is wrong."""

    code = "RESULT_OVERTAKEN"

    def __init__(self) -> None:
        super().__init__("Another result of this series was published meanwhile; the objects must be made again.")


class CaseOvertaken(NodeError):
    """A result of more images of the same series is out already; this one must not seem to be newer."""

    code = "OVERTAKEN"
    permanent = True

    def __init__(self, instances: int, newest: int) -> None:
        self.instances = instances
        self.newest = newest
        super().__init__(f"A result of {newest} images of this series is published; this one was made of {instances}.")


class StageCrashed(NodeError):
    """The child process of a stage died or was killed."""

    code = "STAGE_CRASHED"
    what: ClassVar[str] = "crashed"

    def __init__(self, stage: str, reason: str) -> None:
        self.stage = stage
        self.reason = reason
        super().__init__(f"Stage {stage} {self.what}: {reason}.")


class StageOutOfMemory(StageCrashed):
    """Memory of the machine or of its GPU did not suffice, or the limit of the site was reached."""

    code = "STAGE_OUT_OF_MEMORY"
    what = "ran out of memory"


class StageTooLong(StageCrashed):
    """A stage was killed at the end of its time."""

    code = "STAGE_TOO_LONG"
    what = "took too long"


class UnknownCase(NodeError):
    """There is no case of that id."""

    code = "UNKNOWN_CASE"
    permanent = True

    def __init__(self, case_id: str) -> None:
        self.case_id = case_id
        super().__init__(f"There is no case {case_id}.")


class UnknownSeries(NodeError):
    """No series that waits or was put aside has a key that begins so, or several have."""

    code = "UNKNOWN_SERIES"
    permanent = True

    def __init__(self, start_of_key: str, found: int) -> None:
        self.start_of_key = start_of_key
        self.found = found
        said = f"{found} series begin with {start_of_key}; give more of the key" if found else "No series begins so"
        super().__init__(f"{said}. perfnode jobs lists those that wait or were put aside.")


class ArchiveError(NodeError):
    """An archive could not be asked, or did not give what was asked for."""

    code = "ARCHIVE"


class QueryRefused(ArchiveError):
    """The archive answered a question or a retrieval with a failure (PS3.4 tables C.4-1 to C.4-3)."""

    code = "QUERY_REFUSED"

    def __init__(self, address: str, status: int) -> None:
        self.address = address
        self.status = status
        super().__init__(f"{address} refused the request with status 0x{status:04X}.")


class QueryTooWide(ArchiveError):
    """The archive has more answers than are taken; those that came are not used, since they are not all."""

    code = "QUERY_TOO_WIDE"
    permanent = True

    def __init__(self, address: str, limit: int) -> None:
        self.address = address
        self.limit = limit
        super().__init__(f"{address} has more than {limit} answers to this question; ask a narrower one.")


class RetrievalIncomplete(ArchiveError):
    """Not everything that was asked for came; what came is kept, and its series stays marked as interrupted."""

    code = "RETRIEVAL_INCOMPLETE"

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"{address} did not give the whole series: {reason}.")


class NodeBusy(ArchiveError):
    """Nothing more is fetched: too many cases wait, or the disk is nearly full. What was fetched stays."""

    code = "NODE_BUSY"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Fetching stopped: {reason}. Start it again later; it goes on where it stopped.")


class CaseNotRemovable(NodeError):
    """A person wants a case removed that has not arrived everywhere, or that somebody works on."""

    code = "CASE_NOT_REMOVABLE"
    permanent = True

    def __init__(self, case_id: str, kept: str) -> None:
        self.case_id = case_id
        self.kept = kept
        super().__init__(f"case {case_id} must stay: {kept}; nothing was removed")


class BackupError(NodeError):
    """A backup could not be made, is not whole, or must not be restored here."""

    code = "BACKUP"
    permanent = True

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"{folder}: {reason}")


class UnknownDestination(NodeError):
    """Nothing of the case was ever on its way to a destination of that name."""

    code = "UNKNOWN_DESTINATION"
    permanent = True

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"Nothing of this case was sent to a destination {name}.")


class AlertRefused(NodeError):
    """A mail server or a web hook answered and did not take the message."""

    code = "ALERT_REFUSED"

    def __init__(self, answer: str) -> None:
        self.answer = answer
        super().__init__(f"The message was not taken: {answer}.")


class DownloadFailed(NodeError):
    """Weights could not be fetched from the internet; says how they come here by hand."""

    code = "DOWNLOAD_FAILED"

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        self.url = url
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{url} could not be fetched: {reason}. {remedy}")


class NothingHeld(NodeError):
    """Nothing of a case waits for a person, so there is nothing to release or to discard."""

    code = "NOTHING_HELD"
    permanent = True

    def __init__(self, case_id: str) -> None:
        self.case_id = case_id
        super().__init__(f"Nothing of the case {case_id} waits for a person.")


class CaseChanged(NodeError):
    """Something happened to a case between what a person saw and what they decided; nothing was done."""

    code = "CASE_CHANGED"
    permanent = True

    def __init__(self, case_id: str) -> None:
        self.case_id = case_id
        super().__init__(f"The case {case_id} has changed since it was shown; nothing was done. Look at it again.")


class ReasonMissing(NodeError):
    """A decision was to be made without saying why."""

    code = "REASON_MISSING"
    permanent = True

    def __init__(self, action: str) -> None:
        self.action = action
        super().__init__(f"To {action} a case needs a reason; nothing was done.")


class TextTooLong(NodeError):
    """What a person wrote is longer than is kept; it is never cut."""

    code = "TEXT_TOO_LONG"
    permanent = True

    def __init__(self, found: int, limit: int) -> None:
        self.found = found
        self.limit = limit
        super().__init__(f"The text has {found} characters; at most {limit} are kept. Nothing was done.")


class ChoiceRefused(NodeError):
    """A person chose a model or a function rule that this node cannot use."""

    code = "CHOICE_REFUSED"
    permanent = True

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{what} cannot be used to make a case anew: {reason}. Nothing was done.")


class AccountRefused(NodeError):
    """An account of the page cannot be made or changed in this way."""

    code = "ACCOUNT_REFUSED"
    permanent = True

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The account was left as it is: {reason}.")


class UnknownAccount(NodeError):
    """The page has no account of that name."""

    code = "UNKNOWN_ACCOUNT"
    permanent = True

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"There is no account {name}.")


class SignInRefused(NodeError):
    """Somebody could not sign in; what was wrong is not told, so that nobody learns which names there are."""

    code = "SIGN_IN_REFUSED"
    permanent = True


class SignInTooOften(NodeError):
    """Too many tries to sign in; the next one is looked at after a while."""

    code = "SIGN_IN_TOO_OFTEN"

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(f"Too many tries to sign in. Try again in {max(1, round(wait_s / 60))} min.")


class ProviderAway(NodeError):
    """The OpenID provider does not answer, or not as one."""

    code = "PROVIDER_AWAY"

    def __init__(self) -> None:
        super().__init__("The OpenID provider cannot be asked now. Try again later.")


class RequestRefused(NodeError):
    """A request that changes something carries no token of the page, or comes from another site."""

    code = "REQUEST_REFUSED"
    permanent = True

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Nothing was done: {reason}.")


class PortInUse(NodeError):
    """Somebody else listens on the port of the page, or it may not be used."""

    code = "PORT_IN_USE"
    permanent = True

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host = host
        self.port = port
        super().__init__(
            f"The page cannot listen on {host} port {port}: {reason}. [web].port of the site file says where."
        )


class DeliveryError(NodeError):
    """Objects did not reach a destination."""

    code = "DELIVERY"


class PeerUnreachable(DeliveryError):
    """No association could be made."""

    code = "PEER_UNREACHABLE"

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"{address} cannot be reached: {reason}.")


class QueryInterrupted(PeerUnreachable):
    """The peer took the association for a query and then ended it, or did not answer."""

    code = "QUERY_INTERRUPTED"


class DeliveryInterrupted(DeliveryError):
    """The peer gave no status, so whether it kept the object is unknown.

    `instances` holds the `InstanceDelivery` of every object before it, whose status is known.
    """

    code = "DELIVERY_INTERRUPTED"

    def __init__(self, address: str, reason: str, *, instances: tuple[object, ...] = ()) -> None:
        self.address = address
        self.reason = reason
        self.instances = instances
        super().__init__(f"{address} gave no status: {reason}. The object is sent again with the same UID.")


class CommitmentRefused(DeliveryError):
    """The archive does not offer Storage Commitment (status 0x0122) or answered the request with a failure."""

    code = "COMMITMENT_REFUSED"

    def __init__(self, address: str, status: int) -> None:
        self.address = address
        self.status = status
        super().__init__(f"{address} refused the request for commitment with status 0x{status:04X}.")


class UnknownTransaction(DeliveryError):
    """A commitment report names a transaction that was never asked for."""

    code = "UNKNOWN_TRANSACTION"
    permanent = True

    def __init__(self) -> None:
        super().__init__("A report came for a transaction that nobody asked for.")


class StoreRefused(DeliveryError):
    """The peer refused an object. `permanent` depends on the status, so it is a field here.

    `instances` holds the `InstanceDelivery` of every object of the delivery, also of those that were stored.
    """

    code = "STORE_REFUSED"

    def __init__(self, address: str, status: int, *, permanent: bool, instances: tuple[object, ...] = ()) -> None:
        self.address = address
        self.status = status
        self.instances = instances
        self.permanent = permanent  # type: ignore[misc]
        super().__init__(f"{address} refused an object with status 0x{status:04X}.")
