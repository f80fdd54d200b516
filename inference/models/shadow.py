"""Which model of the registry runs in shadow: beside the model in use, for comparison, and never in its place.

`shadow.json` of the registry says which, and where its objects go; it is absent while none runs. What the model makes
of each case, and that nothing of it reaches a clinical destination, is the matter of the node.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from inference.errors import ModelVersionTaken, ShadowRefused, ShadowUnreadable
from inference.model_card import ModelIdentity
from inference.models.bundle import ModelBundle
from inference.models.history import ChosenModel
from inference.models.registry import ModelRegistry, RegisteredModel
from inference.models.shipped import trusted_keys
from inference.models.whole_files import replace_file, sync_folder

SHADOW_FILE = "shadow.json"


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Shadow:
    """The model that runs in shadow, and who said so."""

    model: ChosenModel
    destination: str
    """Name of the research destination that gets its objects; empty where nobody does."""
    by: Annotated[str, Field(min_length=1)]
    at: str
    """UTC, ISO 8601."""

    @property
    def reference(self) -> str:
        """`name@version`, as commands take it."""
        return f"{self.model.name}@{self.model.version}"

    @property
    def identity(self) -> ModelIdentity:
        """As objects name the model."""
        return ModelIdentity(self.model.name, self.model.version, self.model.content_sha256)


def shadow_of(registry: ModelRegistry) -> Shadow | None:
    """What runs in shadow; None for nothing. Takes no lock.

    Raises:
        ShadowUnreadable: the file cannot be read.
    """
    path = registry.folder / SHADOW_FILE
    try:
        return TypeAdapter(Shadow).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as fault:
        raise ShadowUnreadable(str(path), type(fault).__name__) from fault


def read_shadow_bundle(shadow: Shadow, registry: ModelRegistry, own: Iterable[Path]) -> ModelBundle:
    """The bundle that runs in shadow, with every check of the one in force.

    Args:
        shadow: which.
        registry: of the site.
        own: files with public keys that the site trusts.

    Raises:
        ModelError: it must not be used; each leaf says why.
    """
    chosen = shadow.model
    model = RegisteredModel(chosen.name, chosen.version, chosen.content_sha256, chosen.manifest_sha256)
    bundle = registry.read(model, trusted_keys(own))
    if bundle.identity.weights_sha256 != chosen.content_sha256:
        raise ModelVersionTaken(model.reference, model.manifest_sha256)
    return bundle


def start_shadow(
    registry: ModelRegistry,
    model: RegisteredModel,
    in_use: ModelIdentity,
    own: Iterable[Path],
    *,
    by: str,
    destination: str = "",
) -> Shadow:
    """Let a model run in shadow from the next case on; one that ran before ends.

    Args:
        registry: of the site.
        model: that is to be compared.
        in_use: the model that makes the maps now.
        own: files with public keys that the site trusts.
        by: who does it.
        destination: name of a research destination, or empty.

    Raises:
        ShadowRefused: nobody is named, or the model is the one in use.
        ModelError: the bundle must not be used, or the registry cannot be written.
    """
    if not by.strip():
        raise ShadowRefused("it needs the name of who does it")
    if in_use.weights_sha256 == model.content_sha256:
        raise ShadowRefused(f"{model.reference} makes the maps itself")
    chosen = ChosenModel(model.name, model.version, model.content_sha256, model.manifest_sha256)
    shadow = Shadow(chosen, destination, by, datetime.now(UTC).isoformat(timespec="seconds"))
    with registry.changing():
        read_shadow_bundle(shadow, registry, own)
        replace_file(registry.folder / SHADOW_FILE, (json.dumps(asdict(shadow), sort_keys=True) + "\n").encode())
    return shadow


def end_shadow(registry: ModelRegistry) -> bool:
    """Let none run in shadow; whether one did. Works also where the file cannot be read.

    Raises:
        ModelStoreUnwritable: the registry cannot be written.
    """
    if not (registry.folder / SHADOW_FILE).exists():
        return False
    with registry.changing():
        (registry.folder / SHADOW_FILE).unlink(missing_ok=True)
        sync_folder(registry.folder)
    return True
