"""From which address a browser asks: the other end of the connection, or what a believed proxy says of it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def peer_of(scope: Scope) -> str:
    """The other end of the connection; empty if it is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    found = _parsed(address)
    return found is not None and any(found in network for network in networks)


def address_of(scope: Scope, proxies: Sequence[Network]) -> str:
    """The address of the browser.

    A proxy appends whom it heard, so `X-Forwarded-For` is read from its end; the first address that is no proxy of ours
    is the browser. What stands before it was said by the browser itself and is worth nothing.

    Args:
        scope: of the request.
        proxies: networks of the proxies that are believed.
    """
    address = peer_of(scope)
    said = Headers(scope=scope).getlist("x-forwarded-for")
    waiting = [part.strip() for line in said for part in line.split(",")]
    while waiting and is_in(address, proxies):
        nearer = _parsed(waiting.pop())
        if nearer is None:
            break
        address = str(nearer)
    return address


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
