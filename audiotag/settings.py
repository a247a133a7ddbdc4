"""Settings, each declared once: its checks, options on the command line, files and tables in the documentation follow.

A `SettingsGroup` is a frozen dataclass whose fields are made by `setting`; larger groups inherit from smaller ones, so
that every setting has one flat name. A default may depend on the rest and on the situation of a run: until
`SettingsGroup.resolve` has filled it in, the setting is open and cannot be read, so that nothing stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from audiotag import documents
from audiotag.arguments import description, fits
from audiotag.display import line
from audiotag.errors import OptionError, suggest
from audiotag.files import write_text
from audiotag.printing import shortened

_Part = TypeVar("_Part", bound="SettingsGroup")

OPEN: Any = type("Open", (), {"__repr__": lambda self: "OPEN"})()
"""What a setting is that nobody has chosen and whose default depends on the rest."""


@dataclass(frozen=True)
class Range:
    """From *low* to *high*; without *low* itself where *above*, without *high* itself where *below*."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether *value* lies in it."""
        return (value > self.low if self.above else value >= self.low) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        low = f"a number above {self.low:g}" if self.above else f"{self.low:g} or more"
        high = f"{self.high:,.0f}" if 1e6 <= self.high < 1e15 else f"{self.high:g}"
        return f"{low}, {'below' if self.below else 'at most'} {high}"


COUNT = Range(0, 2**31 - 1)
FROM_ONE = Range(1, 2**31 - 1)
"""A count of at least one."""
POSITIVE = Range(0, 1e9, above=True)
"""A number above 0. The upper bound keeps products of two settings within any numeric type."""
NOT_NEGATIVE = Range(0, 1e9)
"""A number of at least 0."""
SHARE, BELOW_ONE, ABOVE_ZERO = Range(0, 1), Range(0, 1, below=True), Range(0, 1, above=True)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is declared of a setting.

    Attributes:
        help: What it means, in a sentence.
        default: Its value where nobody chooses one.
        by: The default from the other settings and the situation of the run, instead.
        usual: The default in words, where its value does not say it.
        range: The numbers that it may be, and that each of several may be.
        choices: The words that it may be, or a function that gives them; those of a literal type are known.
        option: How the command line spells it, where that is not ``--its-name``.
        of: The setting that it belongs to: where that one is chosen anew, what shaped the former choice goes.
        varies: What of a clip it varies (``"waveform"``, ``"spectrogram"``, or all of a ``"clip"``); 0 switches it off.
        group: Heading that it stands under: the `SettingsGroup.TITLE` of where it was declared first.
        name: Its name, and
        hint: its type; both are those of the field.
    """

    help: str
    default: Any = OPEN
    by: Callable[[Any, Any], Any] | None = None
    usual: str | None = None
    range: Range | None = None
    choices: Collection[str] | Callable[[], Collection[str]] = ()
    option: str | None = None
    of: str | None = None
    varies: str | None = None
    group: str = ""
    name: str = ""
    hint: Any = Any

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it may be; none where it may be any."""
        literal = next((one for one in (self.hint, *get_args(self.hint)) if get_origin(one) is Literal), None)
        return get_args(literal) or tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def default_text(self) -> str:
        """The default in words; empty where there is nothing to say."""
        if self.usual is not None:
            return self.usual
        if isinstance(self.default, tuple):
            return " ".join(f"{number:g}" for number in self.default)
        if self.default in (OPEN, None) or isinstance(self.default, bool | Mapping):
            return ""
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def checked(self, value: Any, where: object) -> Any:
        """The *value* as it is kept: numbers and tuples are Python's own.

        Raises:
            OptionError: It is of another type, out of range, or none of the choices.
        """
        if getattr(value, "shape", None) == ():  # a number of NumPy
            value = value.item()
        if get_origin(self.hint) is tuple and isinstance(value, list):  # TOML and JSON know no tuples
            value = tuple(value)
        if value is None and type(None) in get_args(self.hint):
            return value
        if not fits(value, self.hint):
            raise self._refused(value, description(self.hint).removesuffix(" or none"), where)
        if self.words and value not in (self.choices() if callable(self.choices) else self.words):
            raise self._refused(value, f"one of: {', '.join(self.words)}", where)
        kinds = get_args(self.hint)
        if isinstance(value, tuple) and ... not in kinds and len(value) != len(kinds):
            raise self._refused(value, f"{len(kinds)} numbers", where)
        numbers = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if self.range is not None and not self.range.holds(number):
                raise self._refused(value, str(self.range), where)
        return value

    def _refused(self, value: Any, wanted: str, where: object) -> OptionError:
        shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a number of very many digits"
        return OptionError(f"{self.name} is {shortened(shown)}", where=where, fix=f"Give {wanted}.")

    def as_field(self) -> Any:
        """The field of a `SettingsGroup` that it declares."""
        if isinstance(self.default, Mapping) or self.by is not None:
            default = self.default if self.by is None else OPEN
            return field(default_factory=lambda: default, metadata={"setting": self})
        return field(default=self.default, metadata={"setting": self})


def setting(default: Any = OPEN, *, help: str, **declared: Any) -> Any:
    """A field of a `SettingsGroup`; see `Setting`."""
    return Setting(help=help, default=default, **declared).as_field()


def varied(group: type[SettingsGroup], name: str, **changes: Any) -> Any:
    """The setting *name* of *group* with another default, range or meaning, as a field of another group."""
    if "default" in changes:
        changes = {"by": None, "usual": None, **changes}
    return replace(declared(group)[name], **changes).as_field()


_DECLARED: dict[type, dict[str, Setting]] = {}


def declared(group: type[SettingsGroup]) -> dict[str, Setting]:
    """The settings of *group* by name: those of the groups that it is composed of, in order, then its own."""
    if group not in _DECLARED:
        _DECLARED[group] = _declarations(group)
    return _DECLARED[group]


def _declarations(group: type[SettingsGroup]) -> dict[str, Setting]:
    hints, found = get_type_hints(group), {one.name: one.metadata["setting"] for one in fields(group)}  # type: ignore[arg-type]
    titles: dict[str, str] = {}
    for name, title in _titles(group):
        if name in found:
            titles.setdefault(name, title)
    return {
        name: replace(found[name], name=name, hint=hints[name], group=found[name].group or title)
        for name, title in titles.items()
    }


def _titles(group: type) -> Iterator[tuple[str, str]]:
    """Names with the titles of where they are declared."""
    for base in group.__bases__:
        yield from _titles(base)
    for name in vars(group).get("__annotations__", {}):
        yield name, getattr(group, "TITLE", "")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class SettingsGroup:
    """Settings that belong together; a subclass is a frozen dataclass of them.

    Where defaults depend on the rest (`Setting.by`), None for such a setting is the same as not to choose it.

    Raises:
        OptionError: A setting has a value that cannot be.
    """

    WHERE: ClassVar[str] = "settings"
    """What messages call it."""

    TITLE: ClassVar[str] = "Settings"
    """Heading of its settings in help and documentation."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)

    def __post_init__(self) -> None:
        known = declared(type(self))
        for name, one in known.items():
            value = vars(self)[name]
            if one.by is not None and (value is OPEN or value is None):
                object.__delattr__(self, name)
            else:
                object.__setattr__(self, name, one.checked(value, self.WHERE))
        if all(one.by is None for one in known.values()):
            self._check(None)

    def check(self, situation: Any) -> None:
        """Refuse resolved settings that do not go together; each group looks after its own.

        Raises:
            OptionError: They do not.
        """

    def _check(self, situation: Any) -> None:
        for group in reversed(type(self).__mro__):
            if check := vars(group).get("check"):
                check(self, situation)

    def resolve(self, situation: Any) -> Self:
        """The settings with every default filled in.

        Args:
            situation: What the defaults depend on beside the other settings.

        Raises:
            OptionError: A setting does not go with the others.
        """
        filling: Any = _Filling(self, situation)
        resolved = self._made(type(self), {name: getattr(filling, name) for name in declared(type(self))})
        resolved._check(situation)
        return resolved

    def idle(self, situation: Any, used: Collection[str]) -> list[str]:
        """The settings beside those that are *used* that are not what they would be if nobody had chosen them."""
        chosen = {name: value for name, value in vars(self).items() if name in used}
        usual = _Filling(type(self)(**chosen), situation)
        return [name for name in declared(type(self)) if name not in used and vars(self)[name] != getattr(usual, name)]

    def part(self, group: type[_Part]) -> _Part:
        """The settings of *group*, which these are composed of."""
        return self._made(group, {name: value for name, value in vars(self).items() if name in declared(group)})

    def replaced(self, **changes: Any) -> Self:
        """The same settings but for *changes*."""
        return type(self)(**{**vars(self), **changes})

    def changes(self, before: Self) -> list[str]:
        """The settings that are others than *before*, by name."""
        old, new = before.to_dict(), self.to_dict()
        return [name for name in declared(type(self)) if old.get(name) != new.get(name)]

    def to_dict(self) -> dict[str, Any]:
        """What is chosen or filled in, as plain types, without None."""
        plain: dict[str, Any] = _plain({name: vars(self)[name] for name in declared(type(self)) if name in vars(self)})
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: object = None) -> Self:
        """Settings from plain types.

        Args:
            values: Some of them by name.
            where: Where they stand, for messages.

        Raises:
            OptionError: A name is unknown, or a value cannot be.
        """
        place, known = cls.WHERE if where is None else where, declared(cls)
        for name in values:
            if name not in known:
                raise OptionError(
                    f"there is no setting {name!r}",
                    where=place,
                    fix=suggest(name, known) or f"The settings are: {', '.join(known)}.",
                )
        try:
            return cls(**values)
        except OptionError as error:
            raise OptionError(error.what, where=place, fix=error.fix) from error

    @staticmethod
    def _made(group: type[_Part], values: dict[str, Any]) -> _Part:
        """A *group* of values that were checked before."""
        made = object.__new__(group)
        vars(made).update(values)
        return made

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        usual = {one.name: one.default for one in fields(type(self))}  # type: ignore[arg-type]
        chosen = {name: vars(self)[name] for name in declared(type(self)) if name in vars(self)}
        return line(self, **{name: value for name, value in chosen.items() if value not in (usual[name], {})})

    if not TYPE_CHECKING:  # type checkers shall know attributes by their declaration alone

        def __getattr__(self, name: str) -> Any:
            if name in type(self).__dataclass_fields__:
                raise AttributeError(f"{name} is open: it depends on the run, and resolve() fills it in")
            return object.__getattribute__(self, name)  # whose error is the usual one


class _Filling:
    """Settings as the defaults of others see them: what is open is filled in when it is asked for."""

    def __init__(self, settings: SettingsGroup, situation: Any) -> None:
        self._settings, self._situation = settings, situation
        self.__dict__.update(vars(settings))

    def __getattr__(self, name: str) -> Any:
        one = declared(type(self._settings)).get(name)
        if one is None or one.by is None:
            raise AttributeError(name)
        value = self.__dict__[name] = one.by(self, self._situation)
        return value


def _plain(value: Any) -> Any:
    """Lists and tables as TOML has them: it knows no none."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def layered(group: type[SettingsGroup], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of *group* from several places (a recipe, a file, the command line), later ones winning.

    Options of the sampler, the loss and the like win one by one. Where a later place chooses another sampler, loss or
    schedule, what belonged to the earlier one (`Setting.of`) goes with it.
    """
    known = declared(group).values()
    tables = [one.name for one in known if isinstance(one.default, Mapping)]
    merged: dict[str, Any] = {}
    for layer in layers:
        others = {name for name in layer if name in merged and _plain(layer[name]) != _plain(merged[name])}
        gone = {one.name for one in known if one.of in others}
        merged = {name: value for name, value in merged.items() if name not in gone}
        merged |= {**layer, **{name: _joined(merged.get(name, {}), layer[name]) for name in tables if name in layer}}
    return merged


def _joined(first: Any, second: Any) -> Any:
    """*second* over *first*; tables within tables too."""
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return second
    return {**first, **{name: _joined(first.get(name), value) for name, value in second.items()}}


def read_settings(path: str | Path) -> dict[str, Any]:
    """Settings from a TOML file, not yet checked.

    Raises:
        OptionError: The file is missing or not TOML.
    """
    return documents.read_toml(path, error=OptionError, fix="Settings are in a TOML file, as name = value.")


def write_settings(settings: SettingsGroup, path: str | Path) -> None:
    """Write settings as TOML."""
    import tomli_w

    write_text(path, tomli_w.dumps(settings.to_dict()))
