"""Which model of the registry makes the maps: put into force by two people, taken back by one, read by every job.

    promote   a passing evaluation of exactly this model against the one in use, and two different names
    rollback  what was in force before, at once; again for the one before that

What is in force is one small file, `in-force.json`, replaced by rename: a process that is killed at any moment leaves
the old choice or the new one. It holds the newest line of `history.jsonl`. A node needs no word of a change: each job
reads the file when it loads its model, so that a job is made by one model from beginning to end, and the next job by
what is in force then. Where the file does not agree with the history nothing is guessed and no map is made.
"""

import hashlib
import time
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from inference.errors import ModelChoiceDamaged, ModelVersionTaken, PromotionRefused
from inference.model_card import ModelIdentity
from inference.models.bundle import ModelBundle
from inference.models.evaluation import Evaluation
from inference.models.history import START, Change, ChosenModel, append_change, follows, read_history
from inference.models.registry import ModelRegistry, RegisteredModel
from inference.models.shipped import read_chosen_bundle, trusted_keys
from inference.models.signature import TrustedKeys
from inference.models.whole_files import FOLDER_MODE, replace_file

IN_FORCE_FILE = "in-force.json"
HISTORY_FILE = "history.jsonl"
EVALUATIONS = "evaluations"
_TRIES = 20
_WAIT_S = 0.05
"""A reader that meets a change looks again; a change takes milliseconds."""


def read_serving_bundle(folder: Path | None, own: Iterable[Path], registry: Path | None) -> ModelBundle:
    """The bundle that makes the maps: the one that the site file names, else the one in force, else the shipped one.

    Args:
        folder: that the site file names; it goes before everything that was promoted.
        own: files with public keys that the site trusts.
        registry: folder of the registry.

    Raises:
        ModelError: it must not be used; each leaf says why.
    """
    change = None if folder is not None or registry is None else in_force(ModelRegistry(registry))
    if registry is None or change is None or change.model is None:
        return read_chosen_bundle(folder, own)
    return _read(ModelRegistry(registry), change.model, trusted_keys(own))


def in_force(registry: ModelRegistry) -> Change | None:
    """The change that brought the model in force; None where nothing was ever promoted. Takes no lock.

    Raises:
        ModelChoiceDamaged: file and history do not agree, or one cannot be read.
    """
    problem = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_WAIT_S)
        try:
            before = _content(registry)
            history = read_history(registry.folder / HISTORY_FILE)
            if before != _content(registry):
                continue  # a change came between
            change = Change.parse(before) if before else None
        except (OSError, ValueError) as fault:
            problem = str(fault) if isinstance(fault, ValueError) else f"{fault.strerror}"
            continue
        if change is None and not history:
            return None
        if change is not None and (history[-1:] == (change,) or follows(change, history)):
            return change
        problem = f"{IN_FORCE_FILE} is not the end of {HISTORY_FILE}" if change else f"{IN_FORCE_FILE} is gone"
    raise ModelChoiceDamaged(str(registry.folder), problem or "it changes all the time")


def changes(registry: ModelRegistry) -> tuple[Change, ...]:
    """Every change, the first one first.

    Raises:
        ModelChoiceDamaged: file and history do not agree, or one cannot be read.
    """
    newest = in_force(registry)
    if newest is None:
        return ()
    history = read_history(registry.folder / HISTORY_FILE)[: newest.line]
    return history if history[-1:] == (newest,) else (*history, newest)


def promote(
    registry: ModelRegistry,
    model: RegisteredModel,
    evaluation: bytes,
    serving: Callable[[], ModelIdentity],
    trusted: TrustedKeys,
    *,
    by: str,
    approved_by: str,
) -> Change:
    """Put a model into force.

    Args:
        registry: of the site.
        model: that is to be in force.
        evaluation: the document, see `Evaluation`; a copy of it is kept.
        serving: gives the model that makes the maps of this site; asked when nobody else can change it.
        trusted: public keys whose signature counts here.
        by: who does it.
        approved_by: somebody else, who has looked at the evaluation.

    Raises:
        PromotionRefused: the two names are one, a name is empty, or the model is in force already.
        EvaluationUnusable, EvaluationOfAnotherModel, EvaluationNotPassed: see `Evaluation`.
        ModelError: the bundle must not be used, or the registry cannot be read or written.
    """
    _require_two_people(by, approved_by)
    document = Evaluation.parse(evaluation)
    with registry.changing():
        now = _settled(registry)
        chosen = ChosenModel(model.name, model.version, model.content_sha256, model.manifest_sha256)
        current = now.model if now else None
        if current == chosen:
            raise PromotionRefused(f"{model.reference} is in force already")
        bundle = _read(registry, chosen, trusted)
        document.require_pass(bundle.identity, serving())
        digest = hashlib.sha256(evaluation).hexdigest()
        (registry.folder / EVALUATIONS).mkdir(mode=FOLDER_MODE, exist_ok=True)
        replace_file(registry.folder / EVALUATIONS / f"{digest}.json", evaluation)
        earlier = (*(now.earlier if now else ()), current)
        return _put(registry, now, "promote", chosen, earlier, (by, approved_by, ""), digest)


def rollback(registry: ModelRegistry, own: Iterable[Path], *, by: str, reason: str) -> Change:
    """Put back into force what was there before the model in force.

    Args:
        registry: of the site.
        own: files with public keys that the site trusts.
        by: who does it.
        reason: why.

    Raises:
        PromotionRefused: nothing was promoted, or all of it is taken back; or name or reason is empty.
        ModelError: the one before must not be used, or the registry cannot be read or written.
    """
    if not _plain(by) or not _plain(reason):
        raise PromotionRefused("a rollback needs a name and a reason")
    keys = tuple(own)
    with registry.changing():
        now = _settled(registry)
        if now is None or not now.earlier:
            raise PromotionRefused("there is no earlier model to go back to")
        before = now.earlier[-1]
        if before is None:
            read_chosen_bundle(None, keys)
        else:
            _read(registry, before, trusted_keys(keys))
        return _put(registry, now, "rollback", before, now.earlier[:-1], (by, "", reason), "")


def _put(
    registry: ModelRegistry,
    now: Change | None,
    what: Literal["promote", "rollback"],
    model: ChosenModel | None,
    earlier: tuple[ChosenModel | None, ...],
    people: tuple[str, str, str],
    evaluation_sha256: str,
) -> Change:
    """Make a change: the file first, which is the change, then the history."""
    by, approved_by, reason = people
    change = Change(
        line=now.line + 1 if now else 1,
        previous=now.sha256() if now else START,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        what=what,
        model=model,
        earlier=earlier,
        by=by,
        approved_by=approved_by,
        reason=reason,
        evaluation_sha256=evaluation_sha256,
    )
    replace_file(registry.folder / IN_FORCE_FILE, change.encoded())
    append_change(registry.folder / HISTORY_FILE, change)
    return change


def _settled(registry: ModelRegistry) -> Change | None:
    """What is in force, with its line in the history, which a crash may have left out."""
    now = in_force(registry)
    if now is not None and len(read_history(registry.folder / HISTORY_FILE)) < now.line:
        append_change(registry.folder / HISTORY_FILE, now)
    return now


def _content(registry: ModelRegistry) -> bytes:
    try:
        return (registry.folder / IN_FORCE_FILE).read_bytes()
    except FileNotFoundError:
        return b""


def _read(registry: ModelRegistry, chosen: ChosenModel, trusted: TrustedKeys) -> ModelBundle:
    model = RegisteredModel(chosen.name, chosen.version, chosen.content_sha256, chosen.manifest_sha256)
    bundle = registry.read(model, trusted)
    if bundle.identity.weights_sha256 != chosen.content_sha256:
        raise ModelVersionTaken(model.reference, model.manifest_sha256)
    return bundle


def _require_two_people(by: str, approved_by: str) -> None:
    if not _plain(by) or not _plain(approved_by):
        raise PromotionRefused("a promotion needs two names")
    if _plain(by) == _plain(approved_by):
        raise PromotionRefused("the one who approves must be somebody else")


def _plain(name: str) -> str:
    """A name as it is compared: case, spaces, dots and forms of letters do not make another person."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in folded if letter.isalnum())
