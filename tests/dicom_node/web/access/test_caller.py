"""Which address counts as the browser's."""

from ipaddress import ip_network

import pytest

from dicom_node.web.access.caller import address_of, is_in, peer_of

PROXIES = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # no proxy of ours says so
        ("10.0.0.5", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.5", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # the browser wrote the first one itself
        ("10.0.0.5", ["198.51.100.7, 10.0.0.6"], "198.51.100.7"),  # two proxies in a row
        ("10.0.0.5", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),  # two headers are one list
        ("10.0.0.5", ["unknown"], "10.0.0.5"),
        ("10.0.0.5", [], "10.0.0.5"),
        ("fd00::5", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.5", ["198.51.100.7"], "198.51.100.7"),
    ],
)
def test_only_proxies_of_ours_are_believed(peer: str, said: list[str], address: str) -> None:
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", line.encode()) for line in said]}
    assert address_of(scope, PROXIES) == address


def test_a_connection_without_an_address_is_in_no_network() -> None:
    assert peer_of({"type": "http", "client": None}) == ""
    assert not is_in("", PROXIES)
