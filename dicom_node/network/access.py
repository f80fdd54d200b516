"""Who may open an association: AE titles and the addresses they may come from.

An AE title is a name that anybody can type, so it says who a peer claims to be; the address networks and, with TLS, the
client certificate say who it is. Addresses are compared as numbers by `ipaddress`: 10.0.0.1 does not let 10.0.0.100 in.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

ADDRESS_NOT_ALLOWED: Final = "ADDRESS_NOT_ALLOWED"
UNKNOWN_CALLING_AE: Final = "UNKNOWN_CALLING_AE"
WRONG_CALLED_AE: Final = "WRONG_CALLED_AE"

_MAPPED_PREFIX: Final = 96
"""The first 96 bits of an IPv4 address written as IPv6, ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an association is not accepted, and the numbers that tell the peer (PS3.8 table 9-21)."""

    code: str
    """Stable, for logs and the audit trail."""
    result: int
    """1: rejected permanently."""
    source: int
    """1: by the application entity, not by the protocol machine."""
    reason: int
    """3: calling AE title not recognised; 7: called AE title not recognised."""


_CALLING_NOT_RECOGNISED: Final = (1, 1, 3)
_CALLED_NOT_RECOGNISED: Final = (1, 1, 7)


@dataclass(frozen=True, slots=True)
class Sender:
    """A peer that may call us."""

    ae_title: str
    networks: tuple[Network, ...]
    """Where it may call from; at least one."""

    def contains(self, address: Address) -> bool:
        """Whether the address lies in one of the networks."""
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The rules for peers that call us. Without senders everybody may call."""

    ae_title: str
    """Our own AE title."""
    also_called: tuple[str, ...] = ()
    """Further AE titles that peers may call us by."""
    require_called_ae_title: bool = True
    """Whether a peer must call one of our titles."""
    senders: tuple[Sender, ...] = ()
    """An AE title may stand here several times; its networks add up."""
    own_networks: tuple[Network, ...] = ()
    """Where the node calls itself from, to see whether its port answers (`watchdog`). Such a call comes under our own
    AE title and may ask for C-ECHO alone, unless a sender lets it do more."""

    def admits_address(self, ip: str) -> bool:
        """Whether anybody at this address may call; asked before anything is read from the connection."""
        if not self.senders:
            return True
        address = parse_address(ip)
        if address is None:
            return False
        return self._is_own(address) or any(sender.contains(address) for sender in self.senders)

    def refusal(self, ip: str, calling: str, called: str) -> Refusal | None:
        """Why this association is not accepted, or None if it is.

        A known AE title at a foreign address gets the same answer as an unknown one, so that a stranger cannot find out
        which titles exist; the code in the log tells them apart.

        Args:
            ip: address the connection comes from.
            calling: AE title of the peer.
            called: AE title that it wants to talk to.
        """
        if (refusal := self._refused_sender(ip, calling)) is not None and not self.is_for_echo_only(ip, calling):
            return refusal
        if self.require_called_ae_title and called.strip(" ") not in (self.ae_title, *self.also_called):
            return Refusal(WRONG_CALLED_AE, *_CALLED_NOT_RECOGNISED)
        return None

    def is_for_echo_only(self, ip: str, calling: str) -> bool:
        """Whether this is the node that calls itself, which no sender lets do more than C-ECHO.

        Args:
            ip: address the connection comes from.
            calling: AE title of the peer.
        """
        return self.is_own_call(ip, calling) and self._refused_sender(ip, calling) is not None

    def is_own_call(self, ip: str, calling: str) -> bool:
        """Whether this computer calls itself under our own title."""
        address = parse_address(ip)
        return calling.strip(" ") == self.ae_title and address is not None and self._is_own(address)

    def _is_own(self, address: Address) -> bool:
        return any(address in network for network in self.own_networks)

    def _refused_sender(self, ip: str, calling: str) -> Refusal | None:
        if not self.senders:
            return None
        address = parse_address(ip)
        named = [sender for sender in self.senders if sender.ae_title == calling.strip(" ")]
        if address is None or not any(sender.contains(address) for sender in self.senders):
            return Refusal(ADDRESS_NOT_ALLOWED, *_CALLING_NOT_RECOGNISED)
        if not named:
            return Refusal(UNKNOWN_CALLING_AE, *_CALLING_NOT_RECOGNISED)
        if not any(sender.contains(address) for sender in named):
            return Refusal(ADDRESS_NOT_ALLOWED, *_CALLING_NOT_RECOGNISED)
        return None


def own_networks(host: str) -> tuple[Network, ...]:
    """Addresses from which only this computer can call itself: loopback, and the one that it listens on.

    Args:
        host: what is listened on; a name counts as loopback only.
    """
    own: list[Network] = [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")]
    address = parse_address(host.strip("[]"))
    if address is not None and not address.is_unspecified:
        own.append(parse_network(str(address)))
    return tuple(own)


def parse_address(text: str) -> Address | None:
    """An address as the system names it, IPv4 in IPv6 clothes as IPv4; None if it is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> Network:
    """A network `10.1.2.0/24`, or a single address.

    Raises:
        ValueError: it is neither, or it has bits set beyond its prefix, so that it is not clear what is meant.
    """
    try:
        loose = ip_network(text.strip(), strict=False)
    except ValueError as fault:
        raise ValueError(f"{text!r} is neither an address nor a network such as 10.1.2.0/24") from fault
    try:
        network = ip_network(text.strip())
    except ValueError as fault:
        host = text.strip().partition("/")[0]
        raise ValueError(f"{text!r} is not the start of a network: write {loose} for it or {host} for one") from fault
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_PREFIX:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))
    return network
