"""`docs/conformance.md` against the running node: what it accepts, refuses, answers and does about answers.

The tables are made from the same constants that the code uses; here they are read back from the page and compared with
what happens over real associations.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, UID_dictionary
from pynetdicom import AE, build_context
from pynetdicom.sop_class import CTImageStorage, Verification

from dicom_node.errors import StoreRefused
from dicom_node.network.access import AccessPolicy, Sender, parse_network
from dicom_node.network.addresses import AeAddress
from dicom_node.network.commitment import CommitmentBook
from dicom_node.network.commitment_service import CommitmentService
from dicom_node.network.delivery import Destination, InstanceDelivery, send
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.reception.spool import Spool
from tests.peers import associate, rejection, scripted_pacs, store_bytes
from tests.small_ct import encoded, small_ct, write_series

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
SYNTAXES = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
CLASSES = [uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"]


def rows(name: str) -> list[list[str]]:
    """The rows of a table of the page, without its heads."""
    block = re.search(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert block is not None, name
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in block[1].splitlines()[2:]]


@contextmanager
def listening(folder: Path, settings: ReceiverSettings, *, minimum_free_mb: float = 1.0) -> Iterator[AeAddress]:
    commitment = CommitmentService(CommitmentBook(folder / "commitments"), lambda uids: {}, lambda title: None)
    spool = Spool(folder / "spool", minimum_free_mb=minimum_free_mb)
    receiver = Receiver(spool, settings, services=(commitment,))
    receiver.start()
    try:
        yield AeAddress("PERFNODE", "127.0.0.1", receiver.port)
    finally:
        receiver.stop(grace_s=0.5)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AeAddress]:
    with listening(tmp_path, ReceiverSettings("PERFNODE", port=0)) as address:
        yield address


def accepted(node: AeAddress, pairs: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, str]]:
    """Class and syntax of every accepted context; a requestor may propose 128 at a time."""
    found = []
    for start in range(0, len(pairs), 120):
        entity = AE("SCANNER")
        contexts = [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in pairs[start : start + 120]]
        contexts.append(build_context(Verification))  # so that the association stands in any case
        association = entity.associate(*node.endpoint, contexts, ae_title=node.ae_title)
        assert association.is_established
        found += [(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts]
        association.release()
    return found


def test_exactly_the_stated_classes_are_accepted(node: AeAddress) -> None:
    found = accepted(node, [(sop_class, SYNTAXES) for sop_class in CLASSES])
    assert {sop_class for sop_class, _ in found} == {row[1] for row in rows("received-classes")}


@pytest.mark.parametrize("lossy", [False, True])
def test_exactly_the_stated_syntaxes_are_accepted(tmp_path: Path, lossy: bool) -> None:
    with listening(tmp_path, ReceiverSettings("PERFNODE", port=0, accept_lossy=lossy)) as node:
        found = accepted(node, [(CTImageStorage, [syntax]) for syntax in SYNTAXES])
    stated = {row[1] for row in rows("received-syntaxes") if lossy or row[2] == "always"}
    assert {syntax for sop_class, syntax in found if sop_class == CTImageStorage} == stated


def test_every_stated_failure_status_of_storage_is_answered_for_its_reason(tmp_path: Path) -> None:
    stated = {row[1].strip("`"): int(row[0], 16) for row in rows("receive-statuses") if row[1]}
    with listening(tmp_path, ReceiverSettings("PERFNODE", port=0)) as node:
        association = associate(node)
        first, other = small_ct(1), small_ct(1, fill=2)
        uid = str(first.SOPInstanceUID)
        answers = {
            "Success": store_bytes(association, CTImageStorage, uid, encoded(first)),
            "INSTANCE_CONFLICT": store_bytes(association, CTImageStorage, uid, encoded(other)),
            "INSTANCE_MISMATCH": store_bytes(association, CTImageStorage, uid + ".9", encoded(first)),
            "INVALID_INSTANCE": store_bytes(association, CTImageStorage, uid, encoded(first)[:-2]),
        }
        association.release()
    with listening(tmp_path / "full", ReceiverSettings("PERFNODE", port=0), minimum_free_mb=1e12) as node:
        association = associate(node)
        answers["SPOOL_FULL"] = store_bytes(association, CTImageStorage, uid, encoded(first))
        association.release()
    assert answers == {code: stated[code] for code in answers}
    assert set(stated) - set(answers) == {"SPOOL"}  # the family; its leaves were tried


def refused(node: AeAddress, calling: str, called: str) -> tuple[int, int, int]:
    return rejection(AeAddress(called, node.host, node.port), calling)


def test_every_stated_rejection_happens_as_stated(tmp_path: Path) -> None:
    stated = {row[4].strip("`"): tuple(int(number) for number in row[:3]) for row in rows("refusals")}
    senders = (Sender("TPS", (parse_network("127.0.0.1"),)), Sender("FAR", (parse_network("10.0.0.1"),)))
    access = AccessPolicy("PERFNODE", senders=senders)
    found = {}
    with listening(tmp_path, ReceiverSettings("PERFNODE", port=0, access=access, maximum_associations=1)) as node:
        found["ADDRESS_NOT_ALLOWED"] = refused(node, "FAR", "PERFNODE")
        found["UNKNOWN_CALLING_AE"] = refused(node, "STRANGER", "PERFNODE")
        found["WRONG_CALLED_AE"] = refused(node, "TPS", "OTHER")
        first = associate(node, calling_ae_title="TPS")
        assert first.is_established
        found["TOO_MANY_ASSOCIATIONS"] = refused(node, "TPS", "PERFNODE")
        first.release()
    assert found == stated


def answer_of(files: list[Path], destination: Destination) -> tuple[bool, InstanceDelivery]:
    """Whether it was refused for good, and what was noted of the one object."""
    try:
        (instance,) = send(files, destination).instances
    except StoreRefused as refusal:
        (noted,) = refusal.instances
        assert isinstance(noted, InstanceDelivery)
        return refusal.permanent, noted
    return False, instance


@pytest.mark.parametrize(("status", "stated"), [(int(row[0], 16), row[2]) for row in rows("send-statuses")])
def test_every_status_of_a_destination_is_dealt_with_as_stated(status: int, stated: str, tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 1)
    with scripted_pacs(lambda event: status, [CTImageStorage], [ExplicitVRLittleEndian]) as address:
        permanent, instance = answer_of(files, Destination("pacs", address))
    assert permanent == (stated == "not sent again by itself" or stated.startswith("sent once more"))
    assert instance.is_doubtful == stated.startswith("sent once more")
    assert (instance.status, instance.is_stored) == (status, stated.startswith("stored"))
    assert instance.is_warning == stated.endswith("a warning")
