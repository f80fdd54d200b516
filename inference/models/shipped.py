"""The model that comes with the node, where it lies, and whose signature is trusted without being asked.

Whoever can write here can trust his own key: what protects an installation is who may write to it, not this file.
"""

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inference.models.bundle import ModelBundle, read_bundle
from inference.models.signature import TrustedKeys, key_id, read_trusted_keys

SHIPPED_MODEL = "insilico-perfusion"
"""Folder under `configs/models`, and name of the model."""

PROJECT_KEYS = ("14453983871e3b7e8bf834c9a66f5a0e4d132844aad8e932f63c77aace23ce8f",)
"""Public keys of this project, 32 bytes each in hexadecimal. Retired keys stay, for models that were signed with them;
a key that was lost to somebody else is taken out."""


def shipped_model_folder() -> Path:
    """Where the shipped model lies in this installation."""
    return Path(str(files("configs").joinpath("models", SHIPPED_MODEL)))


def read_chosen_bundle(folder: Path | None, own: Iterable[Path] = ()) -> ModelBundle:
    """The bundle that a site chose, or the shipped one; see `read_bundle`.

    Args:
        folder: of the bundle; None for the one that comes with the node.
        own: files with public keys that the site trusts.

    Raises:
        ModelError: it must not be used; each leaf says why.
    """
    return read_bundle(folder or shipped_model_folder(), trusted_keys(own))


def trusted_keys(own: Iterable[Path] = ()) -> TrustedKeys:
    """Keys that count here: those of this project, and those of the site.

    Args:
        own: files with public keys that the site trusts.

    Raises:
        ModelKeyUnusable: one of the files is no public key.
    """
    project = (Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key in PROJECT_KEYS)
    return {**{key_id(key): key for key in project}, **read_trusted_keys(own)}
