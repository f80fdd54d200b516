"""Our cookies: what they are called and how browsers keep them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cookies:
    """Cookies that only the page itself can read, and that browsers send to nobody else.

    Over TLS their names begin with `__Host-`, which browsers take from this very host and by TLS only.
    """

    is_secure: bool
    """Whether browsers reach the page by TLS."""

    @property
    def session(self) -> str:
        """Holds the key of a session."""
        return self._named("perfnode")

    @property
    def visit(self) -> str:
        """Holds the key that the form of the sign-in belongs to, before there is a session."""
        return self._named("perfnode-visit")

    @property
    def openid(self) -> str:
        """Holds a key for the way to an OpenID provider and back."""
        return self._named("perfnode-openid")

    def set(self, name: str, value: str, *, same_site: str = "Strict", age_s: int | None = None) -> str:
        """A `Set-Cookie` header; without an age it ends with the browser, with 0 now."""
        secure = "; Secure" if self.is_secure else ""
        age = "" if age_s is None else f"; Max-Age={age_s}"
        return f"{name}={value}; Path=/; HttpOnly; SameSite={same_site}{secure}{age}"

    def _named(self, name: str) -> str:
        return f"__Host-{name}" if self.is_secure else name
