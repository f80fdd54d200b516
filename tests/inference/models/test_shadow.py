"""Which model runs in shadow: started by a person, ended by a command, never the one in use, and never guessed."""

import json
from pathlib import Path

import pytest

from inference.errors import ModelAltered, ModelSignerUnknown, ModelVersionTaken, ShadowRefused, ShadowUnreadable
from inference.model_card import ModelIdentity
from inference.models.promotion import in_force
from inference.models.registry import ModelRegistry
from inference.models.shadow import SHADOW_FILE, end_shadow, read_shadow_bundle, shadow_of, start_shadow
from inference.models.shipped import trusted_keys
from inference.models.signature import PUBLIC_SUFFIX
from tests.stand_in_models import stand_in_bundle, stand_in_files, stand_in_key

NOTHING = ModelIdentity("densitometric-baseline", "1")


@pytest.fixture
def own(tmp_path: Path) -> list[Path]:
    return [Path(f"{stand_in_key(tmp_path)}{PUBLIC_SUFFIX}")]


@pytest.fixture
def registry(tmp_path: Path, own: list[Path]) -> ModelRegistry:
    """With the stand-in models 1 and 2."""
    found = ModelRegistry(tmp_path / "registry")
    for members in (1, 2):
        stand_in_bundle(tmp_path / str(members), stand_in_key(tmp_path), stand_in_files(members), str(members))
        found.take(tmp_path / str(members), trusted_keys(own))
    return found


def test_a_model_runs_in_shadow_from_a_command_to_a_command_and_is_never_in_force(
    registry: ModelRegistry, own: list[Path]
) -> None:
    assert shadow_of(registry) is None
    assert not end_shadow(registry)
    one, two = (registry.find(f"stand-in@{version}") for version in "12")
    started = start_shadow(registry, one, NOTHING, own, by="Ann", destination="lab")
    assert shadow_of(registry) == started
    assert (started.reference, started.destination, started.by) == ("stand-in@1", "lab", "Ann")
    bundle = read_shadow_bundle(started, registry, own)
    assert bundle.identity.label() == started.identity.label()
    assert bundle.identity.weights_sha256 == one.content_sha256 == started.identity.weights_sha256
    start_shadow(registry, two, NOTHING, own, by="Ben")
    now = shadow_of(registry)
    assert now is not None
    assert (now.reference, now.destination, now.by) == ("stand-in@2", "", "Ben")
    assert in_force(registry) is None
    assert end_shadow(registry)
    assert (shadow_of(registry), end_shadow(registry)) == (None, False)


def test_it_needs_a_name_another_model_than_the_one_in_use_and_a_bundle_that_may_be_used(
    registry: ModelRegistry, own: list[Path]
) -> None:
    one = registry.find("stand-in@1")
    with pytest.raises(ShadowRefused, match="name"):
        start_shadow(registry, one, NOTHING, own, by=" ")
    with pytest.raises(ShadowRefused, match="makes the maps itself"):
        start_shadow(registry, one, ModelIdentity("other name", "9", one.content_sha256), own, by="Ann")
    with pytest.raises(ModelSignerUnknown):
        start_shadow(registry, one, NOTHING, [], by="Ann")
    (registry.path(one) / "docs" / "README.md").write_text("Validated.")
    with pytest.raises(ModelAltered):
        start_shadow(registry, one, NOTHING, own, by="Ann")
    assert shadow_of(registry) is None


def test_a_bundle_that_was_exchanged_since_is_not_run(registry: ModelRegistry, own: list[Path]) -> None:
    one, two = (registry.find(f"stand-in@{version}") for version in "12")
    started = start_shadow(registry, one, NOTHING, own, by="Ann")
    registry.path(one).rename(registry.folder / "gone")
    registry.path(two).rename(registry.path(one))
    with pytest.raises(ModelVersionTaken):
        read_shadow_bundle(started, registry, own)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"by": "Ann"}', None])
def test_a_file_that_says_something_else_is_none_and_can_be_ended(
    registry: ModelRegistry, own: list[Path], content: bytes | None
) -> None:
    start_shadow(registry, registry.find("stand-in@1"), NOTHING, own, by="Ann")
    path = registry.folder / SHADOW_FILE
    if content is None:  # one more key, as a later version may write
        content = json.dumps({**json.loads(path.read_bytes()), "more": 1}).encode()
    path.write_bytes(content)
    with pytest.raises(ShadowUnreadable):
        shadow_of(registry)
    assert end_shadow(registry)
    assert shadow_of(registry) is None
