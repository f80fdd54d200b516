"""Makes a change of the model in force again and again, each time killed (-9) one step later, until it is not killed.

`python killed_change.py WHAT REGISTRY SCRATCH PUBLIC_KEY EVALUATION`; a step is anything done to a file of the
registry. Prints one JSON object for each time.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from inference.model_card import ModelIdentity
from inference.models.evaluation import Evaluation
from inference.models.promotion import changes, in_force, promote, rollback
from inference.models.registry import ModelRegistry
from inference.models.shipped import trusted_keys


def change(what: str, registry: ModelRegistry, key: Path, evaluation: bytes) -> None:
    if what == "rollback":
        rollback(registry, [key], by="A", reason="B is worse")
        return
    compared = Evaluation.parse(evaluation).compared_with
    serving = ModelIdentity(compared.name, compared.version, compared.content_sha256)
    model = registry.find("stand-in@2")
    promote(registry, model, evaluation, lambda: serving, trusted_keys([key]), by="A", approved_by="B")


def die_at(step: int, folder: str) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        told = event.startswith("os.") or event in ("open", "fcntl.flock")
        if told and (event == "fcntl.flock" or any(str(part).startswith(folder) for part in arguments)):
            seen += 1
            if seen > step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main(what: str, base: Path, scratch: Path, key: Path, evaluation: bytes) -> None:
    step, killed = 0, True
    while killed:
        folder = scratch / f"{what}-{step}"
        shutil.copytree(base, folder)
        child = os.fork()
        if child == 0:
            die_at(step, str(folder))
            change(what, ModelRegistry(folder), key, evaluation)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        found = in_force(ModelRegistry(folder))
        lines = [line.what for line in changes(ModelRegistry(folder))]
        version = found.model.version if found and found.model else None
        rollback(ModelRegistry(folder), [key], by="C", reason="to see that it can go on")
        print(json.dumps({"killed": killed, "version": version, "lines": lines, "folder": str(folder)}))
        step += 1


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:5]), Path(sys.argv[5]).read_bytes())
