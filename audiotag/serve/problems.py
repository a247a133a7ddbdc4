"""The one shape of what goes wrong: problem details (RFC 9457) with the text of our errors, and no path of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

from starlette.responses import JSONResponse

from audiotag.audio.containers import MissingDecoderError
from audiotag.errors import AudioError, AudiotagError, OptionError, in_python
from audiotag.printing import printable, printable_name, shortened

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """Why a request has no answer."""

    title: Annotated[str, "The status in words"]
    status: Annotated[int, "The status of the answer"]
    detail: Annotated[str, "What happened"]
    where: Annotated[str | None, "What it happened to: the name of the upload, a parameter, the model"] = None
    fix: Annotated[str | None, "What can be done"] = None

    @classmethod
    def of(cls, status: int, what: str, where: object = None, fix: str | None = None) -> Problem:
        """What is told of a failure."""
        place = None if where is None else shortened(printable_name(where), 200)
        advice = None if fix is None else printable(in_python(fix))
        return cls(HTTPStatus(status).phrase, status, printable(in_python(what)), place, advice)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, without what there is not."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Refusal(AudiotagError):
    """A request that is not answered.

    Args:
        status: Of HTTP.
        what: What happened.
        where: What it happened to.
        fix: What can be done.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        where: object = None,
        fix: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status
        self.headers = headers


@dataclass(frozen=True)
class Failed:
    """A failure, ready to be told.

    Attributes:
        problem: What is told.
        headers: Of the answer.
        is_ours: Whether the request could not help it, so that the server's log is to say more.
    """

    problem: Problem
    headers: Mapping[str, str] = field(default_factory=dict)
    is_ours: bool = False

    @classmethod
    def of(cls, error: Exception, *, path: object = None, name: str = "") -> Failed:
        """What is told of an *error*.

        Args:
            error: What was raised.
            path: Where the upload is; it is not told.
            name: What to call it instead.
        """
        match error:
            case Refusal():
                return cls(Problem.of(error.status, error.what, error.where, error.fix), error.headers or {})
            case MissingDecoderError():
                status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
                return cls(Problem.of(status, "this server has no decoder for it", name, "Send WAV, FLAC, Ogg or MP3."))
            case AudioError():
                what, fix = (_without(text, path, name) for text in (error.what, error.fix or ""))
                return cls(Problem.of(HTTPStatus.UNPROCESSABLE_ENTITY, what, name, fix or None))
            case OptionError():
                what, fix = (_without(text, path, name) for text in (error.what, error.fix or ""))
                return cls(Problem.of(HTTPStatus.BAD_REQUEST, what, fix=fix or None))
        what = "the server could not answer"
        return cls(Problem.of(500, what, fix="Its output says why."), is_ours=True)

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.problem.to_dict(), self.problem.status, self.headers, MEDIA_TYPE)


def _without(text: str, path: object, name: str) -> str:
    return text if path is None else text.replace(str(path), name)
