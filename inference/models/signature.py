"""Keys and signatures of model bundles: Ed25519 (RFC 8032), by the library `cryptography`.

A signature proves that the holder of a private key has seen exactly these bytes. It does not prove that the model is
good, and it protects nothing from a person who can change this program or its list of trusted keys: he can trust his
own key. What it is for: a bundle that comes over a share, by mail or from another site is what its maker signed, and a
model that somebody trained or changed on the side is not taken into use by mistake.

Private keys are PEM files that only their owner can read. They never lie in a bundle, in this package or in its
repository. A signature is 64 bytes that `openssl pkeyutl -verify -rawin` can check without this program.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inference.errors import ModelKeyUnusable

SIGNATURE_FILE = "manifest.sig"
SIGNATURE_BYTES = 64
PUBLIC_SUFFIX = ".pub"
TrustedKeys = Mapping[str, Ed25519PublicKey]
"""Keys by their number."""


def key_id(key: Ed25519PublicKey) -> str:
    """The number of a key, short enough to be read out on the telephone: 16 digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def make_key_pair(path: Path) -> Ed25519PublicKey:
    """Make a private key for its owner's eyes, and the public one beside it with `.pub` added to the name.

    Raises:
        ModelKeyUnusable: one of the files exists, which is never overwritten, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    _write_new(path, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none), 0o600)
    public = key.public_key()
    content = public.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(path.with_name(path.name + PUBLIC_SUFFIX), content, 0o644)
    return public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """A private key from its file.

    Raises:
        ModelKeyUnusable: it cannot be read, or is no Ed25519 private key in PEM without a password.
    """
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise ModelKeyUnusable(str(path), "it is no private key in PEM without a password") from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise ModelKeyUnusable(str(path), "it is a private key, but not for Ed25519")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """A public key from its file.

    Raises:
        ModelKeyUnusable: it cannot be read, or is no Ed25519 public key in PEM.
    """
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as fault:
        raise ModelKeyUnusable(str(path), "it is no public key in PEM") from fault
    if not isinstance(key, Ed25519PublicKey):
        raise ModelKeyUnusable(str(path), "it is a public key, but not for Ed25519")
    return key


def read_trusted_keys(paths: Iterable[Path]) -> TrustedKeys:
    """Public keys of files, by their number.

    Raises:
        ModelKeyUnusable: one of them is none.
    """
    return {key_id(key): key for key in map(read_public_key, paths)}


def is_signed_by(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    """Whether the holder of the private key signed exactly this content."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise ModelKeyUnusable(str(path), f"it cannot be read ({fault.strerror})") from fault


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        raise ModelKeyUnusable(str(path), f"it cannot be written ({fault.strerror})") from fault
