"""The table `[web]`: what may be written there, and what must not."""

from pathlib import Path
from typing import Any

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.settings.config import parse_settings, read_settings
from dicom_node.settings.web_settings import WebSettings, is_loopback

EXAMPLE = Path(__file__).parents[3] / "configs" / "node" / "site.example.toml"
OPENID = {"issuer": "https://login.example", "client_id": "perfnode"}
URL = "https://page.example"


def read(web: dict[str, Any], base: Path = Path()) -> WebSettings:
    return parse_settings({"web": web}, base=base).web


def test_the_example_shows_every_default_as_it_is() -> None:
    assert read_settings(EXAMPLE).web == parse_settings({}).web
    assert parse_settings({}).web.port is None


def test_every_key_stands_in_the_example() -> None:
    text = EXAMPLE.read_text()
    table = text[text.index("[web]") : text.index("[watchdog]")]
    from dicom_node.settings.site_file import GroupsSection, OpenIdSection, ProxySection, WebSection

    for section in (WebSection, OpenIdSection, ProxySection, GroupsSection):
        for key in section.model_fields:
            assert f"{key} = " in table or f"[web.{key}]" in table, key


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ({"host": "0.0.0.0", "public_url": URL}, "web.host: 0.0.0.0 is reached over the network, and without TLS"),  # noqa: S104
        ({"host": "192.0.2.1", "allow_plain_http": True}, "web.public_url: needed"),
        ({"certificate": "nowhere.pem"}, "certificate and key belong together"),
        ({"certificate": "nowhere.pem", "key": "nowhere.key"}, "there is no file nowhere.key"),
        ({"public_url": "https://page.example/path"}, "not of the form"),
        ({"public_url": "page.example"}, "not of the form"),
        ({"public_url": "https://u@page.example"}, "not of the form"),
        ({"public_url": "https://page.example:x"}, "not of the form"),
        ({"sign_in": "openid", "public_url": URL, "groups": {"viewer": ["a"]}}, "web.openid: needed"),
        ({"sign_in": "openid", "openid": OPENID, "groups": {"viewer": ["a"]}}, "web.public_url: needed when sign_in"),
        ({"sign_in": "openid", "openid": OPENID, "public_url": URL}, "nobody would have a role"),
        ({"openid": OPENID}, "web.openid: only with"),
        ({"sign_in": "proxy", "groups": {"viewer": ["a"]}}, "web.proxies: needed"),
        ({"sign_in": "proxy", "proxies": ["10.0.0.1"]}, "nobody would have a role"),
        ({"proxy": {}}, "web.proxy: only with"),
        ({"groups": {"viewer": ["a"], "operator": ["a"]}}, "the group 'a' has two roles"),
        ({"proxies": ["everybody"]}, "web.proxies"),
        ({"session_hours": 0}, "web.session_hours"),
        ({"sign_in": "nobody"}, "web.sign_in"),
        ({"colour": "red"}, "web.colour"),
    ],
)
def test_what_cannot_be_meant_is_refused(web: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(web)
    assert words in str(caught.value)


@pytest.mark.parametrize("issuer", ["http://login.example", "ftp://login.example", "login.example"])
def test_a_provider_that_anybody_on_the_way_could_be_is_refused(issuer: str) -> None:
    web = {"sign_in": "openid", "openid": {**OPENID, "issuer": issuer}, "public_url": URL, "groups": {"viewer": ["a"]}}
    with pytest.raises(ConfigurationError, match="must begin with https"):
        read(web)


@pytest.mark.parametrize(
    "more", [{"allow_plain_http": True}, {"proxies": ["10.0.0.0/24"]}, {"certificate": "page.pem", "key": "page.key"}]
)
def test_off_loopback_one_of_three_ways_must_be_chosen(tmp_path: Path, more: dict[str, Any]) -> None:
    for name in ("page.pem", "page.key"):
        (tmp_path / name).touch()
    web = {"host": "192.0.2.1", "public_url": "http://page.example", **more}
    settings = read(web, tmp_path)
    assert settings.host_names == ("192.0.2.1", "page.example")
    assert settings.is_secure is ("certificate" in more)


def test_a_proxy_with_tls_before_the_page_makes_it_secure() -> None:
    settings = read({"public_url": "https://page.example/"})
    assert settings.public_url == URL
    assert settings.is_secure
    assert settings.host_names == ("localhost", "127.0.0.1", "::1", "page.example")


def test_times_and_groups_become_what_the_page_works_with() -> None:
    groups = {"viewer": ["staff"], "administrator": ["it", "physics"]}
    settings = read({"session_idle_minutes": 5, "session_hours": 2, "groups": groups})
    assert (settings.session_idle_s, settings.session_s) == (300.0, 7200.0)
    assert settings.groups == {"staff": "viewer", "it": "administrator", "physics": "administrator"}


@pytest.mark.parametrize(
    ("host", "answer"), [("::1", True), ("[::1]", True), ("127.9.9.9", True), ("localhost", True), ("10.0.0.1", False)]
)
def test_what_only_this_computer_reaches_is_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer
