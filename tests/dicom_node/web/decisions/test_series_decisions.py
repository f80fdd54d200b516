"""A series that is no case is released or discarded at the page."""

import re

import pytest
from starlette.testclient import TestClient

from dicom_node.reception.arrivals import Arrivals, ArrivalState
from dicom_node.reception.spool import Spool
from dicom_node.review.series_log import series_log
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from tests.dicom_node.web.conftest import ClientFor
from tests.dicom_node.web.decisions.held_series import put_series_aside


@pytest.fixture
def key(node_settings: NodeSettings) -> str:
    """Key of a series that no rule took."""
    return put_series_aside(node_settings)


def state(settings: NodeSettings) -> list[ArrivalState]:
    return [a.state for a in Arrivals.under(settings.data_dir, Spool(settings.data_dir / "spool")).all()]


def form(client: TestClient, key: str) -> dict[str, str]:
    """The hidden fields of the page."""
    text = client.get(f"/series/{key}/decide").text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))


def test_a_series_is_discarded_once_with_a_reason_that_is_kept(
    client_for: ClientFor, node_settings: NodeSettings, key: str
) -> None:
    client = client_for(PageRole.APPROVER)
    fields, path = form(client, key), f"/series/{key}/decide"
    assert "REASON_MISSING" in client.post(path, data={**fields, "action": "discard"}).text
    asked = {**fields, "action": "discard", "reason": "a phantom"}
    assert client.post(path, data=asked).status_code == 303
    assert state(node_settings) == [ArrivalState.DISCARDED]
    again = client.post(path, data=asked)
    assert (again.status_code, "CASE_CHANGED" in again.text) == (409, True)
    (decision,) = series_log(node_settings.data_dir).decisions()
    assert (decision.by, decision.reason, decision.answer) == ("approver-1", "a phantom", "DONE")
    assert client.post(path, data={**form(client, key), "action": "release"}).status_code == 303
    assert state(node_settings) == [ArrivalState.RELEASED]


def test_only_an_approver_decides_and_only_about_what_is_there(client_for: ClientFor, key: str) -> None:
    assert client_for(PageRole.OPERATOR).get(f"/series/{key}/decide").status_code == 403
    client = client_for(PageRole.APPROVER)
    assert client.get(f"/series/{'0' * 32}/decide").status_code == 404
    assert client.get("/series/..%2Fetc/decide").status_code in (404, 422)
