"""The application as a whole."""

from dicom_node.operations import Operations
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from tests.dicom_node.web.conftest import ClientFor


def test_the_style_is_served(client_for: ClientFor) -> None:
    answer = client_for(PageRole.VIEWER).get("/static/site.css")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/css")


def test_a_node_without_cases_has_an_empty_list(node_settings: NodeSettings) -> None:
    with Operations(node_settings) as node:
        assert node.jobs().cases == ()
