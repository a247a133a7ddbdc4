"""What an endpoint is: one declaration from which its route, the checks of what is asked and its description follow."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from audiotag.arguments import count_in
from audiotag.errors import OptionError
from audiotag.serve.problems import MEDIA_TYPE, Problem, Refusal
from audiotag.settings import Setting, SettingsGroup, declared

JSON, LINES = "application/json", "application/x-ndjson"
PREFIX = "/api/v1"


class Nothing(SettingsGroup):
    """An endpoint that is asked nothing."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One path of the interface.

    Attributes:
        path: Where it is.
        summary: What it does, in a sentence.
        run: Answers; the interface knows how it is called.
        method: ``GET`` or ``POST``.
        asked: The parameters of its query.
        takes_upload: Whether it is sent a recording.
        answer: Dataclass of the answer, of each line of it where *media_type* is `LINES`; None where it is text.
        media_type: What the answer is.
        refusals: Statuses of answers that are problems, beside those that all have.
    """

    path: str
    summary: str
    run: Callable[..., Any]
    method: Literal["GET", "POST"] = "GET"
    asked: type[SettingsGroup] = Nothing
    takes_upload: bool = False
    answer: type | None = None
    media_type: str = JSON
    refusals: tuple[HTTPStatus, ...] = ()

    @property
    def name(self) -> str:
        """What the description and the metrics call it."""
        return self.path.removeprefix(PREFIX).strip("/").replace("/", "_").removesuffix(".json")

    def read(self, query: Iterable[tuple[str, str]]) -> SettingsGroup:
        """What is asked.

        Raises:
            Refusal: A parameter is unknown, given twice, or has a value that cannot be.
        """
        known = declared(self.asked)
        values: dict[str, Any] = {}
        try:
            for name, text in query:
                if name in values:
                    raise OptionError(f"{name} is given twice", fix="Give it once.")
                values[name] = _value(known[name], text) if name in known else text
            return self.asked.from_dict(values)
        except OptionError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, error.what, where="the query", fix=error.fix) from error


def _value(one: Setting, text: str) -> Any:
    """The value that *text* writes; *text* itself where it writes none of the type, which the check refuses."""
    kinds = {one.hint, *get_args(one.hint)}
    if bool in kinds:
        return {"true": True, "false": False}.get(text, text)
    if int in kinds:
        count = count_in(text)
        return text if count is None else count
    if float in kinds:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def description(endpoints: Sequence[Endpoint], *, version: str) -> dict[str, Any]:
    """The interface in OpenAPI 3.1."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "audiotag", "version": version, "summary": "Which sounds are heard in recordings, and when"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object" if endpoint.media_type == JSON else "string"}
    if endpoint.answer is not None:
        schema = schema_of(endpoint.answer, schemas)
    what = "The answer, a JSON object a line" if endpoint.media_type == LINES else "The answer"
    problem = {MEDIA_TYPE: {"schema": schema_of(Problem, schemas)}}
    told: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [_parameter(one) for one in declared(endpoint.asked).values()],
        "responses": {
            "200": {"description": what, "content": {endpoint.media_type: {"schema": schema}}},
            **{str(status.value): {"description": status.phrase, "content": problem} for status in endpoint.refusals},
            "default": {"description": "A problem", "content": problem},
        },
    }
    if endpoint.takes_upload:
        binary = {"type": "string", "format": "binary"}
        form = {"type": "object", "properties": {"file": binary}, "required": ["file"]}
        told["requestBody"] = {
            "description": "A recording: WAV, FLAC, Ogg, MP3, and whatever else the server decodes",
            "required": True,
            "content": {"application/octet-stream": {"schema": binary}, "multipart/form-data": {"schema": form}},
        }
    return told


def _parameter(one: Setting) -> dict[str, Any]:
    schema = _of_hint(one.hint, {})
    if isinstance(schema["type"], list):  # to leave it out is to say nothing
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    if one.range is not None:
        schema["exclusiveMinimum" if one.range.above else "minimum"] = one.range.low
        schema["exclusiveMaximum" if one.range.below else "maximum"] = one.range.high
    if one.words:
        schema["enum"] = list(one.words)
    if one.default is not None:
        schema["default"] = one.default
    text = one.help + (f" Default: {one.usual}." if one.usual else "")
    return {"name": one.name, "in": "query", "description": text, "schema": schema}


def schema_of(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of a dataclass, which is put into *schemas* with those that it refers to."""
    if kind.__name__ not in schemas:
        hints = get_type_hints(kind, include_extras=True)
        schemas[kind.__name__] = {
            "type": "object",
            "description": (kind.__doc__ or "").partition("\n")[0],
            "properties": {name: _of_hint(hint, schemas) for name, hint in hints.items()},
            "required": [one.name for one in fields(kind) if one.default is MISSING],
        }
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def _of_hint(hint: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**_of_hint(arguments[0], schemas), "description": arguments[1]}
    if origin in (Union, types.UnionType):
        return {"type": [_PLAIN[kind] for kind in arguments]}
    if origin in (list, tuple):
        return {"type": "array", "items": _of_hint(arguments[0], schemas)}
    if is_dataclass(hint):
        return schema_of(hint, schemas)  # type: ignore[arg-type] # a class, not one of its objects
    return {"type": _PLAIN[hint]}
