"""`python -m fuzz TARGET [libFuzzer options] [corpus folders]`: one target under atheris.

Without options: 60 seconds, new inputs under `bench-output/fuzz/`, ten seconds and 2 GiB for one input.
"""

import sys
from importlib import import_module
from pathlib import Path

try:
    import atheris
except ImportError:
    print("Fuzzing needs atheris, which there is for Python 3.11 on Linux: pip install '.[fuzz]'.", file=sys.stderr)
    sys.exit(0)

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
NEW = Path("bench-output") / "fuzz"
DEFAULTS = ("-max_total_time=60", "-timeout=10", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1")


def mutated_instance(data: bytes, max_size: int, seed: int) -> bytes:
    """A change of an input that is a dataset: half of them keep it one."""
    if len(data) < 2 or seed % 2:
        return bytes(atheris.Mutate(data, max_size))
    from fuzz.dataset_mutator import mutated
    from fuzz.series_reader import SYNTAXES

    syntax = SYNTAXES[data[0] & 7]
    changed = mutated(
        data[1:],
        implicit=syntax.is_implicit_VR,
        order="<" if syntax.is_little_endian else ">",
        seed=seed,
        mutate=lambda value: bytes(atheris.Mutate(value or b"0", 256)),
    )
    return (data[:1] + changed)[:max_size]


def main(arguments: list[str]) -> None:
    """Fuzz one target until the time is over or something is found."""
    target, *options = arguments
    given = {option.partition("=")[0] for option in options}
    options += [option for option in DEFAULTS if option.partition("=")[0] not in given]
    new = NEW / target
    new.mkdir(parents=True, exist_ok=True)
    if "-artifact_prefix" not in given:
        options.append(f"-artifact_prefix={new.parent}/{target}-")
    if all(option.startswith("-") for option in options):
        options += [str(new), str(CORPUS / target)]
    with atheris.instrument_imports(include=["dicom_node", "inference", "pydicom", "pynetdicom"]):
        one_input = import_module(TARGETS[target]).one_input
    mutator = {"custom_mutator": mutated_instance} if target in ("reader", "structures") else {}
    atheris.Setup(["fuzz", *options], one_input, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
