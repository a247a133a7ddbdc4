"""Damage to files: what worn cards, broken transfers, other programs and people do to them, from a seed."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

NUMBERS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 62,
    (1 << 64) - 1,
)
"""Values at which counts, sizes and offsets go wrong."""

WORDS = (
    "", "-1", "0", "1e400", "-0.0", "NaN", "Infinity", "-Infinity", "null", "true", "[]", "{}", '""', "9" * 4400, "1.5",
    "\x00", "\ufeff", "\r", "\n", "\t", '"', "'", ",", ";", "\u202e", "é", "e\u0301", "../../x", "/etc/passwd",
    "a\x1b[2J", "=1+1", "x" * 140_000, "[" * 2000, '{"a":' * 2000,
)  # fmt: skip
"""What a value of a text file may turn into."""

_TOKEN = re.compile(rb"[A-Za-z0-9_.+-]+|\"[^\"]*\"|[\[\]{},:;=]")


def damage(content: bytes, others: list[bytes], generator: np.random.Generator, *, text: bool) -> bytes:
    """*content* after one to four kinds of damage.

    Args:
        content: A sound file.
        others: Other files of its kind, to splice parts from.
        generator: Where chance comes from.
        text: Whether it is text, in which values and separators may be exchanged too.
    """
    kinds = (*_BYTES, *_TEXT, *_TEXT) if text else _BYTES
    for _ in range(int(generator.integers(1, 5))):
        kind = kinds[int(generator.integers(len(kinds)))]
        content = kind(content, others, generator)
    return content


Damage = Callable[[bytes, list[bytes], np.random.Generator], bytes]


def _place(content: bytes, generator: np.random.Generator) -> int:
    """A place in *content*; in half of the cases near its beginning, where the headers are."""
    end = min(len(content), 256) if generator.random() < 0.5 else len(content)
    return int(generator.integers(end + 1))


def _span(content: bytes, generator: np.random.Generator) -> tuple[int, int]:
    begin = _place(content, generator)
    return begin, min(len(content), begin + int(2 ** generator.uniform(0, 14)))


def _flip_bits(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(generator.integers(1, 9))):
        if changed:
            changed[min(_place(content, generator), len(changed) - 1)] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def _write_number(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    size = int(generator.choice([1, 2, 4, 8]))
    value = NUMBERS[int(generator.integers(len(NUMBERS)))] % (1 << 8 * size)
    order = "little" if generator.random() < 0.5 else "big"
    place = _place(content, generator)
    return content[:place] + value.to_bytes(size, order) + content[place + size :]


def _truncate(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    return content[: _place(content, generator)]


def _remove(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    begin, end = _span(content, generator)
    return content[:begin] + content[end:]


def _repeat(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    begin, end = _span(content, generator)
    return content[:end] + content[begin:end] * int(generator.integers(1, 4)) + content[end:]


def _zero(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    begin, end = _span(content, generator)
    return content[:begin] + bytes(end - begin) + content[end:]


def _junk(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    place = _place(content, generator)
    return content[:place] + generator.bytes(int(2 ** generator.uniform(0, 12))) + content[place:]


def _splice(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    other = others[int(generator.integers(len(others)))] if others else content
    begin, end = _span(other, generator)
    place = _place(content, generator)
    return content[:place] + other[begin:end] + content[place:]


def _join(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    return content + (others[int(generator.integers(len(others)))] if others else content)


def _exchange_word(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    found = list(_TOKEN.finditer(content))
    if not found:
        return content
    token = found[int(generator.integers(len(found)))]
    word = WORDS[int(generator.integers(len(WORDS)))].encode()
    return content[: token.start()] + word + content[token.end() :]


def _exchange_words(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    found = list(_TOKEN.finditer(content))
    if len(found) < 2:
        return content
    first, second = sorted(int(place) for place in generator.choice(len(found), size=2, replace=False))
    one, two = found[first], found[second]
    middle = content[one.end() : two.start()]
    return content[: one.start()] + two.group() + middle + one.group() + content[two.end() :]


def _insert_word(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    place = _place(content, generator)
    return content[:place] + WORDS[int(generator.integers(len(WORDS)))].encode() + content[place:]


def _other_encoding(content: bytes, others: list[bytes], generator: np.random.Generator) -> bytes:
    encoding = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037")[int(generator.integers(5))]
    return content.decode("utf-8", errors="replace").encode(encoding, errors="replace")


_BYTES: tuple[Damage, ...] = (_flip_bits, _write_number, _truncate, _remove, _repeat, _zero, _junk, _splice, _join)
_TEXT: tuple[Damage, ...] = (_exchange_word, _exchange_words, _insert_word, _exchange_word, _other_encoding)
