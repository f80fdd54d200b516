"""Bytes nobody would send on purpose, for everything here that reads bytes from outside.

    make fuzz FUZZ_S=1800          all targets, one after the other, with atheris (libFuzzer)
    python -m fuzz reader -runs=0  one target; libFuzzer's own options follow

Each target is a plain function of bytes (`one_input` of a module here), so the corpus also runs without atheris, as
tests. Only documented errors may leave a target; anything else is a finding, and its bytes stay in the corpus.
"""
