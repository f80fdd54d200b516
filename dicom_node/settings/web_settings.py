"""Where the operator's page listens and who may sign in there; from the table `[web]` of the site file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dicom_node.network.access import parse_network
from dicom_node.settings.site_file import GroupsSection, OpenIdSection, ProxySection, WebSection

Network = IPv4Network | IPv6Network
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class OpenIdSettings:
    """The OpenID provider that people sign in at."""

    issuer: str
    client_id: str
    client_secret_file: Path | None
    scopes: tuple[str, ...]
    name_claim: str
    """Claim under whose value decisions are recorded."""
    groups_claim: str
    trusted: Path | None
    """Authorities for its certificate; None: the public ones."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How a reverse proxy says who is signed in."""

    name_header: str = "X-Forwarded-User"
    groups_header: str = "X-Forwarded-Groups"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The operator's page."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: there is no page."""
    public_url: str = ""
    """As people type it, without a slash at the end; empty: `host` and `port`."""
    session_idle_s: float = 1800.0
    session_s: float = 43200.0
    sign_in: str = "accounts"
    """`accounts`, `openid` or `proxy`."""
    certificate: Path | None = None
    key: Path | None = None
    proxies: tuple[Network, ...] = ()
    """Reverse proxies, which are believed when they say for whom they ask."""
    openid: OpenIdSettings | None = None
    proxy: ProxySettings = ProxySettings()
    groups: Mapping[str, str] = field(default_factory=dict)
    """Role of the page by group of the hospital's directory."""

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the page by TLS: its own, or that of a proxy before it."""
        return self.certificate is not None or self.public_url.startswith("https://")

    @property
    def host_names(self) -> tuple[str, ...]:
        """Names under which browsers may ask; any other is an attempt to be let in under a foreign name."""
        public = urlsplit(self.public_url).hostname
        own = _LOOPBACK_NAMES if is_loopback(self.host) else (self.host.strip("[]"),)
        return tuple(dict.fromkeys(name for name in (*own, public) if name))


def web_problems(web: WebSection, base: Path) -> Iterator[str]:
    """Mistakes in `[web]` that no single key shows."""
    if (web.certificate is None) != (web.key is None):
        yield "web.key: certificate and key belong together"
    for key in ("certificate", "key"):
        path = getattr(web, key)
        if path is not None and not (base / path).is_file():
            yield f"web.{key}: there is no file {path}"
    yield from _reach_problems(web)
    if web.sign_in == "openid":
        yield from _openid_problems(web, base)
    elif web.openid is not None:
        yield "web.openid: only with sign_in = 'openid'"
    if web.sign_in == "proxy":
        if not web.proxies:
            yield "web.proxies: needed when sign_in = 'proxy'; else anybody could write the header with the name"
    elif web.proxy is not None:
        yield "web.proxy: only with sign_in = 'proxy'"
    if web.sign_in != "accounts" and not any(role for _, role in _roles(web.groups)):
        yield f"web.groups: needed when sign_in = '{web.sign_in}'; nobody would have a role"
    names = [name for name, _ in _roles(web.groups)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"web.groups: the group {name!r} has two roles"


def web_settings(web: WebSection, base: Path) -> WebSettings:
    """The settings of the page."""
    proxy = web.proxy or ProxySection()
    return WebSettings(
        host=web.host,
        port=web.port,
        public_url=web.public_url.rstrip("/"),
        session_idle_s=60.0 * web.session_idle_minutes,
        session_s=3600.0 * web.session_hours,
        sign_in=web.sign_in,
        certificate=web.certificate and base / web.certificate,
        key=web.key and base / web.key,
        proxies=tuple(parse_network(network) for network in web.proxies),
        openid=_openid(web.openid, base) if web.openid else None,
        proxy=ProxySettings(proxy.name_header, proxy.groups_header),
        groups=dict(_roles(web.groups)),
    )


def _openid(openid: OpenIdSection, base: Path) -> OpenIdSettings:
    return OpenIdSettings(
        issuer=openid.issuer.rstrip("/"),
        client_id=openid.client_id,
        client_secret_file=openid.client_secret_file and base / openid.client_secret_file,
        scopes=tuple(dict.fromkeys(("openid", *openid.scopes))),
        name_claim=openid.name_claim,
        groups_claim=openid.groups_claim,
        trusted=openid.trusted and base / openid.trusted,
    )


def _roles(groups: GroupsSection) -> list[tuple[str, str]]:
    """Every group with its role."""
    return [(name, role) for role, names in groups for name in names]


def _reach_problems(web: WebSection) -> Iterator[str]:
    """Whoever can listen on the way would have passwords and patients."""
    if web.public_url and not _is_origin(web.public_url):
        yield "web.public_url: not of the form https://name or https://name:port"
    if is_loopback(web.host):
        return
    if web.certificate is None and not web.proxies and not web.allow_plain_http:
        yield (
            f"web.host: {web.host} is reached over the network, and without TLS passwords and patient data would go "
            "over it in the clear; give certificate and key, or listen on 127.0.0.1 behind a reverse proxy with TLS, "
            "or name that in proxies, or set allow_plain_http = true"
        )
    if not web.public_url:
        yield "web.public_url: needed when the page is reached over the network; it is answered under that name only"


def _openid_problems(web: WebSection, base: Path) -> Iterator[str]:
    openid: OpenIdSection | None = web.openid
    if openid is None:
        yield "web.openid: needed when sign_in = 'openid'"
        return
    issuer = urlsplit(openid.issuer)
    if issuer.scheme != "https" and not (issuer.scheme == "http" and is_loopback(issuer.hostname or "")):
        yield "web.openid.issuer: must begin with https; who can change its answers can be anybody"
    if not web.public_url:
        yield "web.public_url: needed when sign_in = 'openid'; the provider sends people back there"
    for key in ("client_secret_file", "trusted"):
        path = getattr(openid, key)
        if path is not None and not (base / path).is_file():
            yield f"web.openid.{key}: there is no file {path}"


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return False
    more = url.path.strip("/") or url.query or url.fragment or url.username
    return url.scheme in ("http", "https") and bool(url.hostname) and not more


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches an address."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
