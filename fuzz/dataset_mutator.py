"""Changes to a dataset that keep it a dataset: what random bytes alone would hardly ever reach.

Elements of the top level are taken apart, one or two are changed, and they are put together with lengths that fit
(mostly). Bytes that cannot be taken apart stay at the end as they are.
"""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_VRS: Final = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV"
).split()
_UNDEFINED: Final = 0xFFFFFFFF
_ITEMS: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
Mutate = Callable[[bytes], bytes]
NASTY_VALUES: Final = (
    b"",
    b" ",
    b"\0\0",
    b"0 ",
    b"-1",
    b"1 ",
    b"nan ",
    b"inf ",
    b"-inf",
    b"1e400 ",
    b"1e-300",
    b"1e9 ",
    b"\\\\",
    b"1\\2\\3\\4\\5\\6\\7 ",
    b"1\\\\3 ",
    b"1_0 ",
    b"0x10",
    b"\xff\xff",
    b"\xff\xfe",
    b"\x00\x80",
    b"\xff\x7f",
    b"\xc3\xa9\xe2\x80\xae",
    b"../../../etc/x ",
    b"ISO_IR 192",
    b"ISO 2022 IR 87\\",
    b"no such charset ",
    b"1" * 1024,
    b"\\" * 300,
    b"^" * 64,
)


@dataclass(frozen=True, slots=True)
class _Element:
    tag: bytes
    vr: bytes
    value: bytes
    undefined: bool = False


def mutated(dataset: bytes, *, implicit: bool, order: str, seed: int, mutate: Mutate) -> bytes:
    """A dataset with one or two elements changed.

    Args:
        dataset: encoded, explicit or implicit.
        implicit: whether it has no value representations.
        order: `<` or `>`, the byte order.
        seed: equal seeds give equal changes.
        mutate: the fuzzer's own change of bytes, for values.
    """
    chance = random.Random(seed)
    elements, tail = _taken_apart(dataset, implicit, order)
    if not elements:
        return mutate(dataset)
    for _ in range(chance.choice((1, 1, 2))):
        _change(elements, chance, mutate, (implicit, order))
    return b"".join(_put_together(element, implicit, order) for element in elements) + tail


def _changed_item(element: _Element, chance: random.Random, mutate: Mutate, layout: tuple[bool, str]) -> bytes:
    """A sequence whose first item holds a changed dataset, some levels down."""
    implicit, order = layout
    (length,) = struct.unpack_from(order + "L", element.value, 4)
    if length > len(element.value) - 8:
        return mutate(element.value)
    inner = mutated(
        element.value[8 : 8 + length], implicit=implicit, order=order, seed=chance.randrange(1 << 30), mutate=mutate
    )
    return element.value[:4] + struct.pack(order + "L", len(inner)) + inner + element.value[8 + length :]


def _change(elements: list[_Element], chance: random.Random, mutate: Mutate, layout: tuple[bool, str]) -> None:
    at = chance.randrange(len(elements)) if elements else 0
    kind = chance.randrange(8)
    if elements and len(elements[at].value) >= 8 and elements[at].value[:4] in _ITEMS and chance.random() < 0.7:
        elements[at] = replace(elements[at], value=_changed_item(elements[at], chance, mutate, layout))
    elif not elements or kind == 0:
        elements.insert(at, _Element(bytes(chance.randrange(256) for _ in range(4)), chance.choice(_VRS), b"1 "))
    elif kind == 1:
        del elements[at]
    elif kind == 2:
        elements.insert(chance.randrange(len(elements) + 1), elements[at])
    elif kind == 3:
        elements[at] = replace(elements[at], vr=chance.choice(_VRS))
    elif kind == 4:
        elements[at] = replace(elements[at], value=mutate(elements[at].value))
    elif kind == 5:
        elements[at] = replace(elements[at], undefined=not elements[at].undefined)
    else:
        elements[at] = replace(elements[at], value=chance.choice(NASTY_VALUES))


def _taken_apart(dataset: bytes, implicit: bool, order: str) -> tuple[list[_Element], bytes]:
    elements, at = [], 0
    while at + 8 <= len(dataset):
        tag, vr, start = dataset[at : at + 4], dataset[at + 4 : at + 6], at + 8
        if implicit:
            vr, (length,) = b"", struct.unpack_from(order + "L", dataset, at + 4)
        elif vr in _LONG_VRS and at + 12 <= len(dataset):
            (length,), start = struct.unpack_from(order + "L", dataset, at + 8), at + 12
        else:
            (length,) = struct.unpack_from(order + "H", dataset, at + 6)
        if length > len(dataset) - start:
            break
        elements.append(_Element(tag, vr, dataset[start : start + length]))
        at = start + length
    return elements, dataset[at:]


def _put_together(element: _Element, implicit: bool, order: str) -> bytes:
    length = _UNDEFINED if element.undefined else len(element.value)
    if implicit:
        return element.tag + struct.pack(order + "L", length) + element.value
    if element.vr in _LONG_VRS:
        return element.tag + element.vr + b"\0\0" + struct.pack(order + "L", length) + element.value
    return element.tag + element.vr + struct.pack(order + "H", length & 0xFFFF) + element.value
