"""A small certificate authority for tests and benchmarks, made with the `openssl` command line tool.

Made anew per process, in a moment; keys never stand in the repository.
"""

import atexit
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

_DAYS = 90


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """One authority with what it issued, and another authority that nobody trusts."""

    authority: Path
    """Certificate of the authority: what both sides trust."""
    server: Identity
    """Names localhost and 127.0.0.1."""
    client: Identity
    expired: Identity
    """Issued by the authority, valid until yesterday."""
    stranger: Identity
    """Issued by another authority."""
    other_authority: Path


@cache
def certificates() -> Certificates:
    """The certificates of this process; made once."""
    folder = Path(mkdtemp(prefix="certificates-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_certificates(folder)


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and its certificates in a folder."""
    folder.mkdir(exist_ok=True)
    authority, other = _authority(folder, "authority"), _authority(folder, "other-authority")
    return Certificates(
        authority=authority.certificate,
        server=_issue(folder, "server", authority),
        client=_issue(folder, "client", authority),
        expired=_issue(folder, "expired", authority, not_before="20240101000000Z", not_after="20240201000000Z"),
        stranger=_issue(folder, "stranger", other),
        other_authority=other.certificate,
    )


def issue(certificates: Certificates, name: str, *, days: int = _DAYS, algorithm: str = "EC") -> Identity:
    """A further certificate of the authority, for instance one that ends soon, or with an RSA key."""
    folder = certificates.authority.parent
    authority = Identity(certificates.authority, folder / "authority.key")
    return _issue(folder, name, authority, days=days, algorithm=algorithm)


def _authority(folder: Path, name: str) -> Identity:
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    _key(made.key)
    _openssl(
        *("req", "-x509", "-new", "-key", str(made.key), "-out", str(made.certificate), "-days", str(_DAYS)),
        *("-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    return made


def _issue(
    folder: Path,
    name: str,
    by: Identity,
    *,
    days: int = _DAYS,
    not_before: str = "",
    not_after: str = "",
    algorithm: str = "EC",
) -> Identity:
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    _key(made.key, algorithm)
    request, settings = folder / f"{name}.csr", folder / f"{name}.cnf"
    settings.write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/{name}.index\nserial={folder}/{name}.serial\n"
        f"new_certs_dir={folder}\ndefault_md=sha256\npolicy=any\ndefault_days={days}\n"
        "[any]\ncommonName=supplied\n"
        "[names]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    (folder / f"{name}.index").write_text("")
    _openssl("req", "-new", "-key", str(made.key), "-out", str(request), "-subj", f"/CN={name}")
    dates = ["-startdate", not_before, "-enddate", not_after] if not_before else ["-days", str(days)]
    _openssl(
        *("ca", "-batch", "-notext", "-config", str(settings), "-extensions", "names", "-in", str(request)),
        *("-rand_serial", "-cert", str(by.certificate), "-keyfile", str(by.key), "-out", str(made.certificate), *dates),
    )
    return made


def _key(path: Path, algorithm: str = "EC") -> None:
    size = {"EC": "ec_paramgen_curve:P-256", "RSA": "rsa_keygen_bits:2048"}[algorithm]
    _openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", size, "-out", str(path))
    path.chmod(0o600)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
