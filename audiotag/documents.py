"""Reading back JSON and TOML that somebody may have changed: one way to open a document, one way to look into it.

A document comes from a checkpoint that was sent by mail, a store on a worn card, a list that a script wrote. Whatever
is wrong with it is one error of ours that names the file and the key; no other exception leaves this module.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from audiotag.errors import AudiotagError
from audiotag.printing import shortened

_REQUIRED: Any = object()
_Value = TypeVar("_Value")


def read_json(
    path: str | Path, *, error: type[AudiotagError], fix: str | None = None, unique_keys: bool = False
) -> Any:
    """The content of a JSON file; its text is read as `read_text` does.

    Args:
        path: The file.
        error: What to raise.
        fix: What the reader of the error can do.
        unique_keys: Refuse an object that names one key twice, instead of keeping the last.

    Raises:
        AudiotagError: As *error*: the file cannot be read, is not text, is not JSON, or is nested too deeply.
    """
    text = read_text(path, error=error, fix=fix)
    return parse_json(text, where=path, error=error, fix=fix, unique_keys=unique_keys)


def read_fields(
    path: str | Path, *, error: type[AudiotagError], fix: str | None = None, unique_keys: bool = False
) -> Fields:
    """The object that a JSON file holds; see `read_json`."""
    content = read_json(path, error=error, fix=fix, unique_keys=unique_keys)
    return Fields(content, where=path, error=error, fix=fix)


def parse_json(
    text: str, *, where: object, error: type[AudiotagError], fix: str | None = None, unique_keys: bool = False
) -> Any:
    """The content of JSON text; see `read_json`."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
            raise error(f"the key {twice!r} occurs twice", where=where, fix=fix)
        return content

    try:
        return json.loads(text, object_pairs_hook=once if unique_keys else None)
    except RecursionError as cause:
        raise error("the JSON is nested too deeply", where=where, fix=fix) from cause
    except ValueError as cause:  # malformed, or a number of thousands of digits
        raise error(f"this is not valid JSON ({cause})", where=where, fix=fix) from cause


def read_toml(path: str | Path, *, error: type[AudiotagError], fix: str | None = None) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        AudiotagError: As *error*: the file cannot be read, is not text, is not TOML, or is nested too deeply.
    """
    return parse_toml(read_text(path, error=error, fix=fix), where=path, error=error, fix=fix)


def parse_toml(text: str, *, where: object, error: type[AudiotagError], fix: str | None = None) -> dict[str, Any]:
    """The content of TOML text; see `read_toml`."""
    try:
        return tomllib.loads(text)
    except RecursionError as cause:
        raise error("the TOML is nested too deeply", where=where, fix=fix) from cause
    except ValueError as cause:  # malformed, or a number of thousands of digits
        raise error(f"this is not valid TOML ({cause})", where=where, fix=fix) from cause


def json_text(value: Any, *, indent: int | None = None) -> str:
    """*value* as JSON; what has no number (NaN, an infinity) becomes null, which any reader knows; see `plain_json`."""
    return json.dumps(plain_json(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain_json(
    value: Any,
    place: str = "the value",
    *,
    error: type[AudiotagError] = AudiotagError,
    infinity: str | None = None,
) -> Any:
    """*value* as types of JSON, arrays and numbers of NumPy and paths among them.

    NaN becomes null, which any reader knows, and so does an infinity, or the text *infinity* with its sign, which
    ``float()`` reads.

    Raises:
        AudiotagError: As *error*: something in it, at *place* or below, is of another type.
    """
    if hasattr(value, "tolist"):  # of NumPy, which need not be imported to know it
        value = value.tolist()
    inner = partial(plain_json, error=error, infinity=infinity)
    if isinstance(value, Mapping):
        return {str(key): inner(one, f"{place}.{key}") for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [inner(one, f"{place}.{index}") for index, one in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) or infinity is None else f"{'-' if value < 0 else ''}{infinity}"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise error(f"{place} is a {type(value).__name__}, which cannot be written as JSON")


def read_text(path: str | Path, *, error: type[AudiotagError], fix: str | None = None) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32, which a byte-order mark or zeros among the first bytes tell.

    Ends of lines are kept as they are.

    Raises:
        AudiotagError: As *error*: the file cannot be read, or is not such text.
    """
    try:
        return decode_text(Path(path).read_bytes())
    except FileNotFoundError as cause:
        raise error("the file does not exist", where=path, fix=fix or "Check the path.") from cause
    except OSError as cause:
        raise error(f"the file cannot be read: {cause.strerror or cause}", where=path, fix=fix) from cause
    except ValueError as cause:  # no such text, or a null byte in the name
        raise error(
            f"the file cannot be read: it is not text in UTF-8 ({cause})", where=path, fix=fix or "Save it as UTF-8."
        ) from cause


def decode_text(content: bytes, errors: str = "strict") -> str:
    """The text that *content* holds; see `read_text`."""
    return content.decode(json.detect_encoding(content), errors)


class Fields(Mapping[str, Any]):
    """An object of a document, whose values are asked for with the type that they must have.

    Args:
        content: What should be an object.
        where: The file, for errors.
        error: What to raise.
        name: Where in the document the object is (``model.options``); empty at the top.
        fix: What the reader of an error can do.

    Raises:
        AudiotagError: As *error*: *content* is not an object with text as keys. Each method raises it for a value
            that is missing (unless it has a default) or of another type.
    """

    def __init__(
        self, content: Any, *, where: object, error: type[AudiotagError], name: str = "", fix: str | None = None
    ) -> None:
        self._where, self._error, self._name, self._fix = where, error, name, fix
        if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
            raise self._wrong("an object", content, name or "the document")
        self._content = content

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """A text."""
        return self._value(str, key, default, "a text", lambda value: isinstance(value, str))

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        """True or false."""
        return self._value(bool, key, default, "true or false", lambda value: isinstance(value, bool))

    def integer(self, key: str, default: Any = _REQUIRED, *, least: int | None = None) -> int:
        """A whole number, at least *least*; true and 1.0 are none."""
        kind = "a whole number" + ("" if least is None else f" of at least {least}")
        return self._value(int, key, default, kind, lambda value: _is_integer(value) and value >= _least(least))

    def number(self, key: str, default: Any = _REQUIRED, *, least: float | None = None) -> float:
        """A finite number, at least *least*; true is none."""
        kind = "a finite number" + ("" if least is None else f" of at least {least:g}")
        value = self._value(float, key, default, kind, lambda value: _is_number(value) and value >= _least(least))
        return value if value is default else float(value)

    def numbers(self, key: str, default: Any = _REQUIRED) -> list[float]:
        """A list of finite numbers."""
        return self._value(list[float], key, default, "a list of finite numbers", _list_of(_is_number))

    def integers(self, key: str, default: Any = _REQUIRED) -> list[int]:
        """A list of whole numbers."""
        return self._value(list[int], key, default, "a list of whole numbers", _list_of(_is_integer))

    def texts(self, key: str, default: Any = _REQUIRED) -> list[str]:
        """A list of texts."""
        return self._value(list[str], key, default, "a list of texts", _list_of(lambda one: isinstance(one, str)))

    def fields(self, key: str, default: Any = _REQUIRED) -> Fields:
        """An object in the object."""
        value = self._value(Fields, key, default, "an object", lambda value: isinstance(value, Mapping))
        return value if value is default else self._inner(value, self._path(key))

    def records(self, key: str, default: Any = _REQUIRED) -> list[Fields]:
        """A list of objects."""
        objects = _list_of(lambda one: isinstance(one, Mapping))
        values = self._value(list[Fields], key, default, "a list of objects", objects)
        if values is not default:
            values = [self._inner(value, f"{self._path(key)}[{number}]") for number, value in enumerate(values)]
        return values

    def require_format(self, name: str, version: int, what: str) -> None:
        """Refuse what says of itself that it is something else than *what*, or of another version than *version*."""
        if self._content.get("format") != name:
            raise self._error(f"the file does not describe {what}", where=self._where, fix=self._fix)
        found = self._content.get("format_version")
        if found != version:
            newer = isinstance(found, int) and found > version
            fix = "Upgrade audiotag (pip install --upgrade audiotag)." if newer else "The file may be damaged."
            told = f"it has format version {found!r}, and this audiotag reads version {version}"
            raise self._error(told, where=self._where, fix=fix)

    def refuse(self, key: str, what: str) -> AudiotagError:
        """The error for a value of *key* that has the right type and is wrong all the same."""
        return self._error(f"{self._path(key)} {what}", where=self._where, fix=self._fix)

    def _value(self, shape: type[_Value], key: str, default: Any, kind: str, fits: Callable[[Any], bool]) -> _Value:
        """The value of *key*, which is of the *shape* once it *fits*, or the default, which may be anything."""
        if key not in self._content:
            if default is _REQUIRED:
                raise self._error(f"{self._path(key)} is missing", where=self._where, fix=self._fix)
            return cast(_Value, default)
        value = self._content[key]
        if not (value is None and default is None) and not fits(value):
            raise self._wrong(kind, value, self._path(key))
        return cast(_Value, value)

    def _inner(self, content: Any, name: str) -> Fields:
        return Fields(content, where=self._where, error=self._error, name=name, fix=self._fix)

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def _wrong(self, kind: str, value: Any, name: str) -> AudiotagError:
        return self._error(f"{name} must be {kind}, not {shortened(repr(value), 40)}", where=self._where, fix=self._fix)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond what a float holds
        return False


def _least(bound: float | None) -> float:
    return -math.inf if bound is None else bound


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))
