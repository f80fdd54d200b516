"""Where the page knows people from: accounts of the node, an OpenID provider, or a proxy that says who it is."""

from collections.abc import Collection, Mapping
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import Scope

from dicom_node.settings.web_settings import WebSettings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.caller import is_in, peer_of
from dicom_node.web.access.rights import PageRole
from dicom_node.web.access.sessions import Session
from dicom_node.web.access.standing import People, Standing

_LONGEST_NAME = 128


def people_of(settings: WebSettings, accounts: Accounts) -> People:
    """Whoever the site wants at its page."""
    if settings.sign_in == "proxy":
        return ProxyPeople(settings)
    return OpenIdPeople() if settings.sign_in == "openid" else AccountPeople(accounts)


def role_of(groups: Collection[str], roles: Mapping[str, str]) -> PageRole | None:
    """The highest role that the groups of a person give them; None if they have none.

    Args:
        groups: of the person.
        roles: role of each group that has one.
    """
    found = {PageRole(roles[group]) for group in groups if group in roles}
    return next((role for role in reversed(PageRole) if role in found), None)


def standing_of(name: str, groups: Collection[str], roles: Mapping[str, str]) -> Standing | None:
    """Somebody whom a directory vouches for; None without a name that can be shown, or without a role."""
    role = role_of(groups, roles)
    if role is None or not name or len(name) > _LONGEST_NAME or not name.isprintable():
        return None
    return Standing(name, role, sha256(f"{name}\0{role}".encode()).hexdigest())


class AccountPeople:
    """People with an account of this node; a changed account ends its sessions."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def standing(self, session: Session) -> Standing | None:
        """What their account says now."""
        account = self._accounts.get(session.name)
        return Standing(account.name, account.role, account.mark) if account else None

    def announced(self, scope: Scope) -> Standing | None:
        """Nobody: people sign in at a form."""
        return None


class OpenIdPeople:
    """People whom an OpenID provider vouched for; what it says later is heard when they sign in again."""

    def standing(self, session: Session) -> Standing | None:
        """What was said then."""
        return Standing(session.name, session.role, session.mark)

    def announced(self, scope: Scope) -> Standing | None:
        """Nobody: people sign in at the provider."""
        return None


class ProxyPeople:
    """People whom a proxy names in each request; anybody but the proxy is not believed.

    Args:
        settings: of the page.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._headers = settings.proxy

    def standing(self, session: Session) -> Standing | None:
        """Nothing: without the word of the proxy there is no session."""
        return None

    def announced(self, scope: Scope) -> Standing | None:
        """Who the proxy says it is."""
        if not is_in(peer_of(scope), self._settings.proxies):
            return None
        headers = Headers(scope=scope)
        names = headers.getlist(self._headers.name_header)
        said = ",".join(headers.getlist(self._headers.groups_header))
        groups = [group.strip() for group in said.split(",")]
        # Two names would mean that the proxy let one of the browser's through.
        return standing_of(names[0].strip(), groups, self._settings.groups) if len(names) == 1 else None
