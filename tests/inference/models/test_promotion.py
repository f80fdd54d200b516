"""What is in force: put there by two people, taken back by one, the old one or the new one after any kill -9."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

import pytest

from inference.engine import EngineSettings, build_perfusion_model
from inference.errors import ModelChoiceDamaged, ModelError, ModelSignerUnknown, PromotionRefused
from inference.model_card import ModelIdentity
from inference.models.history import Change, read_history
from inference.models.promotion import HISTORY_FILE, IN_FORCE_FILE, changes, in_force, promote, read_serving_bundle
from inference.models.promotion import rollback as put_back
from inference.models.registry import ModelRegistry, RegisteredModel
from inference.models.shipped import trusted_keys
from tests.stand_in_models import passing_evaluation, stand_in_bundle, stand_in_files, stand_in_key

NOTHING = ModelIdentity("densitometric-baseline", "1")


@dataclass(frozen=True)
class Site:
    """A registry with the stand-in models 1, 2 and 3, and the key that is trusted."""

    registry: ModelRegistry
    key: Path

    def model(self, version: str) -> RegisteredModel:
        return self.registry.find(f"stand-in@{version}")

    def identity(self, version: str) -> ModelIdentity:
        return self.registry.read(self.model(version), trusted_keys([self.key])).identity

    def serving(self) -> ModelIdentity:
        change = in_force(self.registry)
        return self.identity(change.model.version) if change and change.model else NOTHING

    def promote(self, version: str, by: str = "Ann", approved_by: str = "Ben") -> Change:
        evaluation = passing_evaluation(self.identity(version), self.serving()).encoded()
        keys = trusted_keys([self.key])
        return promote(
            self.registry, self.model(version), evaluation, self.serving, keys, by=by, approved_by=approved_by
        )

    def rollback(self) -> Change:
        return put_back(self.registry, [self.key], by="Ann", reason="worse")

    def makes_maps(self) -> str:
        settings = EngineSettings(
            perfusion="bundle", model_registry=self.registry.folder, trusted_keys=(self.key,), device="cpu"
        )
        return build_perfusion_model(settings).identity.version


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("filled")
    key = stand_in_key(folder)
    registry = ModelRegistry(folder / "registry")
    public = key.with_name(key.name + ".pub")
    for members in (1, 2, 3):
        stand_in_bundle(folder / str(members), key, stand_in_files(members), str(members))
        registry.take(folder / str(members), trusted_keys([public]))
    return Site(registry, public)


@pytest.fixture
def site(filled: Site, tmp_path: Path) -> Site:
    shutil.copytree(filled.registry.folder, tmp_path / "registry")
    return replace(filled, registry=ModelRegistry(tmp_path / "registry"))


def test_jobs_take_what_is_in_force_and_a_rollback_gives_back_what_was_before(site: Site) -> None:
    assert in_force(site.registry) is None
    site.promote("1")
    assert site.makes_maps() == "1"
    promoted = site.promote("2")
    assert site.makes_maps() == "2"
    assert (promoted.by, promoted.approved_by) == ("Ann", "Ben")
    assert site.rollback().model == changes(site.registry)[0].model
    assert site.makes_maps() == "1"
    site.promote("3")
    assert site.makes_maps() == "3"
    site.rollback()
    assert site.makes_maps() == "1"
    told = [(change.what, change.model.version if change.model else "") for change in changes(site.registry)]
    wanted = [("promote", "1"), ("promote", "2"), ("rollback", "1"), ("promote", "3"), ("rollback", "1")]
    assert told == wanted
    kept = {path.stem for path in (site.registry.folder / "evaluations").iterdir()}
    assert kept == {c.evaluation_sha256 for c in changes(site.registry)} - {""}
    assert (
        (site.registry.folder / HISTORY_FILE).read_bytes().endswith((site.registry.folder / IN_FORCE_FILE).read_bytes())
    )


def test_a_folder_that_the_site_file_names_goes_before_what_was_promoted(site: Site) -> None:
    site.promote("1")
    named = read_serving_bundle(site.registry.path(site.model("2")), [site.key], site.registry.folder)
    assert named.manifest.version == "2"


@pytest.mark.parametrize(
    ("by", "approved_by"),
    [("Ann", "Ann"), ("Ann Lee", " ann  LEE"), ("A. Lee", "A Lee"), ("Ann", ""), ("", "Ben"), ("Ann", " . ")],
)
def test_one_person_alone_promotes_nothing(site: Site, by: str, approved_by: str) -> None:
    with pytest.raises(PromotionRefused):
        site.promote("1", by, approved_by)
    assert in_force(site.registry) is None


def test_an_evaluation_of_another_model_or_against_one_that_is_no_longer_in_use_promotes_nothing(site: Site) -> None:
    keys = trusted_keys([site.key])
    against_nothing = {v: passing_evaluation(site.identity(v), NOTHING).encoded() for v in "12"}
    site.promote("1")
    for document in against_nothing.values():
        with pytest.raises(ModelError) as caught:
            promote(site.registry, site.model("2"), document, site.serving, keys, by="Ann", approved_by="Ben")
        assert caught.value.code == "EVALUATION_OF_ANOTHER_MODEL"
    with pytest.raises(PromotionRefused, match="already"):
        site.promote("1")
    assert [change.line for change in changes(site.registry)] == [1]
    assert site.makes_maps() == "1"


def test_there_is_nothing_to_roll_back_where_nothing_was_promoted_and_a_reason_is_needed(site: Site) -> None:
    with pytest.raises(PromotionRefused):
        site.rollback()
    site.promote("1")
    site.promote("2")
    for by, reason in (("", "worse"), ("Ann", " ")):
        with pytest.raises(PromotionRefused):
            put_back(site.registry, [site.key], by=by, reason=reason)
    assert site.makes_maps() == "2"


def test_each_rollback_goes_back_one_promotion_and_not_to_a_model_that_must_not_be_used(site: Site) -> None:
    for version in "123":
        site.promote(version)
    assert [site.rollback().model, site.makes_maps()] == [changes(site.registry)[1].model, "2"]
    page = site.registry.path(site.model("1")) / "docs" / "README.md"
    content = page.read_bytes()
    page.write_text("Validated.")
    with pytest.raises(ModelError) as caught:
        site.rollback()
    assert (caught.value.code, site.makes_maps()) == ("MODEL_ALTERED", "2")
    page.write_bytes(content)
    assert [site.rollback().model, site.makes_maps()] == [changes(site.registry)[0].model, "1"]


def test_a_model_that_was_changed_exchanged_or_is_not_trusted_any_more_makes_no_map(site: Site, tmp_path: Path) -> None:
    site.promote("1")
    site.promote("2")
    with pytest.raises(ModelSignerUnknown):
        read_serving_bundle(None, [], site.registry.folder)
    place = site.registry.path(site.model("2"))
    page = place / "docs" / "README.md"
    page.write_text("Validated.")
    with pytest.raises(ModelError) as caught:
        site.makes_maps()
    assert caught.value.code == "MODEL_ALTERED"
    shutil.rmtree(place)
    shutil.copytree(site.registry.path(site.model("3")), place)
    with pytest.raises(ModelError) as caught:
        site.makes_maps()
    assert caught.value.code == "MODEL_VERSION_TAKEN"
    site.rollback()  # from a damaged model one can always go back
    assert site.makes_maps() == "1"
    shutil.rmtree(site.registry.path(site.model("1")))
    with pytest.raises(ModelError) as caught:
        site.makes_maps()
    assert caught.value.code == "MODEL_NOT_FOUND"


def test_what_says_which_model_is_in_force_is_never_guessed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.models.promotion._WAIT_S", 0.0)
    site.promote("1")
    first = (site.registry.folder / IN_FORCE_FILE).read_bytes()
    site.promote("2")
    choice, log = site.registry.folder / IN_FORCE_FILE, site.registry.folder / HISTORY_FILE
    newest, history = choice.read_bytes(), log.read_bytes()
    lines = history.splitlines(keepends=True)

    def refused(choice_bytes: bytes | None, history_bytes: bytes) -> None:
        choice.unlink(missing_ok=True)
        if choice_bytes is not None:
            choice.write_bytes(choice_bytes)
        log.write_bytes(history_bytes)
        with pytest.raises(ModelChoiceDamaged):
            site.makes_maps()
        with pytest.raises(ModelChoiceDamaged):
            site.rollback()

    refused(None, history)  # gone: not the model that comes with the node
    refused(first, history)  # an older one put back by hand
    refused(newest[:-20], history)
    refused(newest.replace(b'"Ben"', b'"Ann"'), history)
    refused(newest, b"")
    refused(newest, lines[1])
    refused(newest, lines[0].replace(b'"Ann"', b'"Eve"') + lines[1])
    refused(newest, b"".join(lines[::-1]))
    refused(newest.replace(b'":', b'": '), history)
    choice.write_bytes(newest)
    log.write_bytes(history)
    assert site.makes_maps() == "2"


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_a_history_that_a_crash_left_short_is_made_whole(site: Site, left: int) -> None:
    site.promote("1")
    before = (site.registry.folder / HISTORY_FILE).read_bytes()
    site.promote("2")
    log = site.registry.folder / HISTORY_FILE
    whole = log.read_bytes()
    log.write_bytes(before + whole[len(before) :][:left])
    assert site.makes_maps() == "2"
    assert [change.line for change in changes(site.registry)] == [1, 2]
    site.rollback()
    assert log.read_bytes().startswith(whole)
    assert [change.line for change in read_history(log)] == [1, 2, 3]


def test_a_line_without_its_end_is_cut_off_however_long_it_is(site: Site) -> None:
    site.promote("1")
    site.promote("2")
    log = site.registry.folder / HISTORY_FILE
    log.write_bytes(log.read_bytes() + b"x" * 5000)
    site.rollback()
    assert [change.line for change in read_history(log)] == [1, 2, 3]
    assert b"x" * 10 not in log.read_bytes()


def test_what_is_in_force_is_replaced_and_never_written_over(site: Site, tmp_path: Path) -> None:
    site.promote("1")
    choice = site.registry.folder / IN_FORCE_FILE
    (tmp_path / "before").hardlink_to(choice)
    before = choice.read_bytes()
    site.promote("2")
    assert choice.read_bytes() != before
    assert (tmp_path / "before").read_bytes() == before


@pytest.mark.parametrize(("what", "after"), [("promote", "2"), ("rollback", "1")])
def test_kill_9_at_any_step_leaves_the_old_model_or_the_new_one(
    site: Site, tmp_path: Path, what: str, after: str
) -> None:
    site.promote("3")
    site.promote("1")
    if what == "promote":
        evaluation = passing_evaluation(site.identity("2"), site.identity("1")).encoded()
    else:
        site.promote("2")
        evaluation = b""
    before = in_force(site.registry)
    assert before is not None
    assert before.model is not None
    (tmp_path / "evaluation.json").write_bytes(evaluation)
    program = Path(__file__).with_name("killed_change.py")
    words = (what, site.registry.folder, tmp_path, site.key, tmp_path / "evaluation.json")
    done = subprocess.run(
        [sys.executable, str(program), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr
    times = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(times) > 10
    assert [time["killed"] for time in times] == [True] * (len(times) - 1) + [False]
    versions = [time["version"] for time in times]
    assert set(versions) == {before.model.version, after}
    assert versions == sorted(versions, key=[before.model.version, after].index)  # once it is new, it stays
    killed_new = [time for time in times if time["killed"] and time["version"] == after]
    assert killed_new  # also between the file and the history
    for time in times:
        assert len(time["lines"]) == before.line + (time["version"] == after)
        registry = ModelRegistry(Path(time["folder"]))
        assert len(read_history(registry.folder / HISTORY_FILE)) == len(time["lines"]) + 1
        assert not list(registry.folder.glob(".*.part"))


def test_who_reads_while_others_change_sees_one_model_or_the_other(site: Site) -> None:
    site.promote("1")
    site.promote("2")
    evaluation = passing_evaluation(site.identity("2"), site.identity("1")).encoded()
    keys, compared = trusted_keys([site.key]), site.identity("1")
    faults: list[BaseException] = []
    seen: set[str] = set()

    def change() -> None:
        try:
            for round_ in range(200):
                site.rollback()
                model = site.model("2")
                promote(site.registry, model, evaluation, lambda: compared, keys, by="A", approved_by="B")
                if round_ >= 4 and len(seen) == 2:
                    return
        except BaseException as fault:
            faults.append(fault)

    writer = Thread(target=change)
    writer.start()
    while writer.is_alive():
        found = in_force(site.registry)
        assert found is not None
        assert found.model is not None
        seen.add(found.model.version)
    writer.join()
    assert faults == []
    assert seen == {"1", "2"}
    assert len(changes(site.registry)) >= 12
