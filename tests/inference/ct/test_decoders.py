"""Every accepted transfer syntax decodes, and the question is not answered with yes whatever happens."""

import numpy as np
import pytest
from pydicom.uid import UID, JPEG2000Lossless, JPEGExtended12Bit

from inference.ct import decoders as ct_decoders
from inference.ct.decoders import FRAMES, undecodable
from inference.ct.syntaxes import FILES_ONLY, LOSSLESS, LOSSY


def test_every_syntax_that_is_read_decodes_here() -> None:
    assert undecodable((*LOSSLESS, *FILES_ONLY, *LOSSY)) == {}


def test_every_compressed_syntax_has_a_sample() -> None:
    assert set(FRAMES) == {syntax for syntax in (*LOSSLESS, *LOSSY) if syntax.is_encapsulated}


def test_a_decoder_that_gives_other_pixels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ct_decoders._expected(JPEG2000Lossless)
    monkeypatch.setattr(ct_decoders, "_expected", lambda syntax: right + np.uint16(1))
    assert undecodable([JPEG2000Lossless]) == {JPEG2000Lossless.name: "a pixel is wrong by 1"}


def test_a_missing_decoder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEGExtended12BitDecoder

    monkeypatch.setattr(JPEGExtended12BitDecoder, "_available", {})
    assert list(undecodable([JPEGExtended12Bit])) == [JPEGExtended12Bit.name]


def test_a_syntax_that_is_not_read_counts_as_undecodable() -> None:
    assert list(undecodable([UID("1.2.840.10008.1.2.4.55")]))
