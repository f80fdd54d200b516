from ipaddress import IPv4Network, ip_network

import pytest

from dicom_node.network.access import (
    ADDRESS_NOT_ALLOWED,
    UNKNOWN_CALLING_AE,
    WRONG_CALLED_AE,
    AccessPolicy,
    Sender,
    own_networks,
    parse_network,
)


def policy(*senders: tuple[str, str], **changes: object) -> AccessPolicy:
    made = tuple(Sender(ae_title, tuple(map(parse_network, networks.split()))) for ae_title, networks in senders)
    return AccessPolicy("PERFNODE", senders=made, **changes)  # type: ignore[arg-type]


BOUNDARIES = [
    ("10.0.0.1", "10.0.0.1", True),
    ("10.0.0.1", "10.0.0.100", False),
    ("10.0.0.1", "10.0.0.10", False),
    ("10.0.0.1", "110.0.0.1", False),
    ("10.1.2.0/24", "10.1.1.255", False),
    ("10.1.2.0/24", "10.1.2.0", True),
    ("10.1.2.0/24", "10.1.2.255", True),
    ("10.1.2.0/24", "10.1.3.0", False),
    ("10.1.2.128/25", "10.1.2.127", False),
    ("10.1.2.128/25", "10.1.2.128", True),
    ("192.168.0.0/30", "192.168.0.4", False),
    ("0.0.0.0/0", "203.0.113.9", True),
    ("0.0.0.0/0", "fd00::1", False),
    ("fd00::/8", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True),
    ("fd00::/8", "fe00::", False),
    ("fd00::1", "fd00::10", False),
    ("fe80::/10", "fe80::1%eth0", True),
    ("::/0", "10.1.2.3", False),
    ("10.1.2.0/24", "::ffff:10.1.2.3", True),
    ("10.1.2.0/24", "::ffff:10.1.3.3", False),
    ("::ffff:10.1.2.0/120", "10.1.2.3", True),
    ("::ffff:10.1.2.0/120", "10.1.3.3", False),
    ("10.1.2.0/24", "::10.1.2.3", False),
    ("10.1.2.0/24", "not an address", False),
    ("10.1.2.0/24", "", False),
]


@pytest.mark.parametrize(("network", "ip", "is_in"), BOUNDARIES)
def test_the_borders_of_a_network_are_exact(network: str, ip: str, is_in: bool) -> None:
    rules = policy(("CT1", network))
    assert rules.admits_address(ip) is is_in
    refusal = rules.refusal(ip, "CT1", "PERFNODE")
    assert (refusal is None) is is_in
    if refusal is not None:
        assert refusal.code == ADDRESS_NOT_ALLOWED


def test_without_senders_everybody_may_call() -> None:
    assert policy().admits_address("203.0.113.9")
    assert policy().refusal("203.0.113.9", "ANYBODY", "PERFNODE") is None


SENDERS = (("CT1", "10.1.2.0/24"), ("CT2", "10.1.3.4 fd00::/8"), ("CT1", "10.9.0.1"))
CALLS = [
    ("10.1.2.7", "CT1", "PERFNODE", None),
    ("10.9.0.1", "CT1", "PERFNODE", None),  # the title stands in two tables
    ("10.1.3.4", "CT2", "PERFNODE", None),
    ("fd00::7", "CT2", "PERFNODE", None),
    ("10.1.2.7", "CT2", "PERFNODE", (ADDRESS_NOT_ALLOWED, 1, 1, 3)),  # a known address, under another's name
    ("10.1.3.4", "CT1", "PERFNODE", (ADDRESS_NOT_ALLOWED, 1, 1, 3)),
    ("10.1.2.7", "CT3", "PERFNODE", (UNKNOWN_CALLING_AE, 1, 1, 3)),
    ("10.1.2.7", "ct1", "PERFNODE", (UNKNOWN_CALLING_AE, 1, 1, 3)),  # AE titles have upper and lower case
    ("10.1.2.7", "CT", "PERFNODE", (UNKNOWN_CALLING_AE, 1, 1, 3)),
    ("10.1.2.7", "CT11", "PERFNODE", (UNKNOWN_CALLING_AE, 1, 1, 3)),
    ("10.1.2.7", "", "PERFNODE", (UNKNOWN_CALLING_AE, 1, 1, 3)),
    ("10.8.8.8", "CT1", "PERFNODE", (ADDRESS_NOT_ALLOWED, 1, 1, 3)),
    ("10.1.2.7", "CT1", "OTHER", (WRONG_CALLED_AE, 1, 1, 7)),
    ("10.1.2.7", "CT1", "", (WRONG_CALLED_AE, 1, 1, 7)),
    ("10.1.2.7", " CT1 ", "PERFNODE  ", None),  # spaces at the ends carry no meaning (PS3.5 section 6.2)
    ("10.8.8.8", "CT3", "OTHER", (ADDRESS_NOT_ALLOWED, 1, 1, 3)),  # a stranger does not learn what else is wrong
]


@pytest.mark.parametrize(("ip", "calling", "called", "expected"), CALLS)
def test_title_and_address_must_belong_together(
    ip: str, calling: str, called: str, expected: tuple[str, int, int, int] | None
) -> None:
    refusal = policy(*SENDERS).refusal(ip, calling, called)
    found = None if refusal is None else (refusal.code, refusal.result, refusal.source, refusal.reason)
    assert found == expected


def test_the_node_answers_to_its_further_titles_too() -> None:
    rules = policy(also_called=("OLDNODE",))
    assert rules.refusal("10.0.0.1", "CT1", "OLDNODE") is None
    assert rules.refusal("10.0.0.1", "CT1", "OTHER") is not None


def test_a_site_may_let_peers_call_any_title() -> None:
    assert policy(require_called_ae_title=False).refusal("10.0.0.1", "CT1", "ANYTHING") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.1.2.3/24", r"write 10\.1\.2\.0/24 for it or 10\.1\.2\.3 for one"),
        ("fd00::1/8", r"write fd00::/8 for it"),
        ("10.1.2", "neither an address nor a network"),
        ("10.1.2.0/33", "neither an address nor a network"),
        ("10.1.2.0-10.1.2.9", "neither an address nor a network"),
        ("ct1.hospital.example", "neither an address nor a network"),
        ("", "neither an address nor a network"),
    ],
)
def test_a_network_that_is_not_clear_is_a_mistake_with_advice(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_network(text)


@pytest.mark.parametrize("text", ["10.1.2.0/24", "10.1.2.0/255.255.255.0", " 10.1.2.0/24 "])
def test_networks_may_be_written_in_the_usual_ways(text: str) -> None:
    assert parse_network(text) == ip_network("10.1.2.0/24")


def test_an_ipv4_network_in_ipv6_clothes_is_the_ipv4_network() -> None:
    assert parse_network("::ffff:10.1.2.0/120") == IPv4Network("10.1.2.0/24")


OWN = own_networks("10.1.2.3")


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "10.1.2.3", "::ffff:127.0.0.1"])
def test_the_node_may_ask_itself_for_echo_only(ip: str) -> None:
    rules = policy(("CT1", "192.168.0.0/24"), own_networks=OWN)
    assert rules.admits_address(ip)
    assert rules.refusal(ip, "PERFNODE", "PERFNODE") is None
    assert rules.is_for_echo_only(ip, "PERFNODE")


@pytest.mark.parametrize(
    ("ip", "calling", "called"),
    [
        ("127.0.0.1", "CT1", "PERFNODE"),
        ("127.0.0.1", "OTHER", "PERFNODE"),
        ("127.0.0.1", "PERFNODE", "OTHER"),
        ("10.1.2.4", "PERFNODE", "PERFNODE"),
        ("192.168.0.7", "PERFNODE", "PERFNODE"),
    ],
)
def test_nobody_else_gets_in_through_that_door(ip: str, calling: str, called: str) -> None:
    rules = policy(("CT1", "192.168.0.0/24"), own_networks=OWN)
    assert rules.refusal(ip, calling, called) is not None


def test_a_sender_of_our_own_title_may_do_all_that_senders_may() -> None:
    rules = policy(("PERFNODE", "127.0.0.1"), own_networks=OWN)
    assert not rules.is_for_echo_only("127.0.0.1", "PERFNODE")
    assert rules.refusal("127.0.0.1", "PERFNODE", "PERFNODE") is None


def test_without_senders_our_own_calls_are_as_free_as_all_others() -> None:
    assert not policy(own_networks=OWN).is_for_echo_only("127.0.0.1", "PERFNODE")


def test_all_addresses_are_no_own_address() -> None:
    assert own_networks("0.0.0.0") == own_networks("node.example") == own_networks("127.0.0.1")[:2]  # noqa: S104
