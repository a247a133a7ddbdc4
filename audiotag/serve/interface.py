"""The HTTP interface: recordings in, tags, events and embeddings out. See docs/http.md."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from threading import Lock
from typing import Annotated, Any
from weakref import finalize

import anyio
import numpy as np
from anyio import from_thread, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from audiotag.data.clips import Clip
from audiotag.inference.tagger import Tagger
from audiotag.serve.endpoints import LINES, PREFIX, Endpoint, description
from audiotag.serve.metrics import MEDIA_TYPE, Metrics
from audiotag.serve.problems import Failed, Refusal
from audiotag.serve.replies import Reply, read_on, while_connected
from audiotag.serve.room import Room
from audiotag.serve.settings import Limits
from audiotag.serve.tagging import (
    Embedded,
    EventsAsked,
    HeardEvent,
    Job,
    Tagged,
    TagsAsked,
    WindowsAsked,
    embeddings,
    events,
    tags,
)
from audiotag.serve.uploads import Upload, received


@dataclass(frozen=True)
class Known:
    """A class that a model knows."""

    label: Annotated[str, "Display name"]
    mid: Annotated[str, "Identity"]


@dataclass(frozen=True)
class Served:
    """A model that answers."""

    name: Annotated[str, "The model"]
    sample_rate: Annotated[int, "Rate in Hz that recordings are brought to"]
    clip_seconds: Annotated[float, "Seconds of a clip that it was trained on"]
    frame_seconds: Annotated[float | None, "Seconds of a frame, where it scores frames"]
    embedding_dim: Annotated[int | None, "Numbers of an embedding; an ensemble has none"]
    single_label: Annotated[bool, "Whether scores of all classes add up to one"]
    tuned: Annotated[bool, "Whether it has thresholds of its own"]
    device: Annotated[str, "Where it computes"]
    precision: Annotated[str, "Numbers that it computes with"]
    labels: Annotated[list[Known], "Its classes"]


@dataclass(frozen=True)
class Models:
    """The models that answer."""

    models: Annotated[list[Served], "One so far"]


@dataclass(frozen=True)
class Health:
    """How the server is."""

    status: Annotated[str, "ok"]
    uploads: Annotated[int, "Uploads at work"]


class Interface:
    """One tagger for all who ask.

    Uploads are computed in threads, whose passes through the network take turns: each has the tagger's numbers, and
    none waits for all of another.

    Args:
        tagger: Answers.
        limits: What is taken at most.

    Attributes:
        tagger: The same.
        limits: The same.
        room: The uploads at work.
        metrics: What was counted.
    """

    def __init__(self, tagger: Tagger, limits: Limits) -> None:
        self.tagger, self.limits = tagger, limits
        self.room = Room(limits)
        self.metrics = Metrics(lambda: len(self.room.taken), lambda: self.room.held)
        self._threads = anyio.CapacityLimiter(limits.at_once)
        self._pass = Lock()
        self._folder = Path(mkdtemp(prefix="audiotag-serve-"))
        finalize(self, rmtree, self._folder, ignore_errors=True)
        self._is_warm = False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._pass:
            from_thread.check_cancelled()  # too late, or nobody is there any more
            yield

    async def models(self) -> Models:
        """The models that answer."""
        tagger, alone = self.tagger, len(self.tagger.facts) == 1
        known = [Known(label.name, label.mid) for label in tagger.labels]
        return Models(
            [
                Served(
                    tagger.name,
                    tagger.sample_rate,
                    tagger.clip_seconds,
                    tagger.frame_seconds,
                    tagger.facts[0].embedding_dim if alone else None,
                    tagger.single_label,
                    tagger.thresholds is not None,
                    tagger.facts[0].device,
                    tagger.precision,
                    known,
                )
            ]
        )

    async def live(self) -> Health:
        """Whether the server answers."""
        return Health("ok", len(self.room.taken))

    async def ready(self) -> Health:
        """Whether an upload would be taken: the network has computed, and there is room."""
        if self.room.is_full:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "all places are taken", fix="Try again later.")
        if not self._is_warm:
            await to_thread.run_sync(self._warm)
        return await self.live()

    def _warm(self) -> None:
        """Let the network compute once: what it needs for that is opened at first use."""
        if all(facts.inputs == ("waveform",) for facts in self.tagger.facts):
            silence = np.zeros(round(self.tagger.clip_seconds * self.tagger.sample_rate), dtype=np.float32)
            self.tagger.taking_turns(self._turn).logits(silence, self.tagger.sample_rate)
        self._is_warm = True

    async def counts(self) -> bytes:
        """The metrics."""
        return self.metrics.text()

    async def openapi(self) -> Mapping[str, Any]:
        """The description of all this."""
        return description(ENDPOINTS, version=version("audiotag"))

    async def hear(self, endpoint: Endpoint, request: Request, reply: Reply) -> None:
        """Answer a request that comes with a recording.

        Raises:
            AudiotagError: There is no answer.
            ClientDisconnect: Whoever asked has gone.
        """
        asked = endpoint.read(request.query_params.multi_items())
        late = HTTPStatus.REQUEST_TIMEOUT
        with self.room.place() as number:
            try:
                with anyio.fail_after(self.limits.request_seconds):
                    async with received(request, self._folder, number, self.room) as upload:
                        late = HTTPStatus.SERVICE_UNAVAILABLE
                        work = partial(self._compute, endpoint, upload, asked, reply)
                        try:
                            await while_connected(request, partial(to_thread.run_sync, work, limiter=self._threads))
                        except ClientDisconnect:
                            raise
                        except Exception as error:
                            raise Failure(Failed.of(error, path=upload.path, name=upload.name)) from error
            except TimeoutError as error:
                what = f"this takes longer than {self.limits.request_seconds:g} s"
                raise Refusal(late, what, fix="Send a shorter recording, or try again later.") from error

    def _compute(self, endpoint: Endpoint, upload: Upload, asked: Any, reply: Reply) -> None:
        """The answer; in a thread of its own."""
        # What lies behind the longest sound is not read; one that goes on is refused all the same.
        clip = Clip("upload", upload.path, stop=self.limits.sound_seconds + 1, video_path=upload.path)
        job = Job.of(self.tagger.taking_turns(self._turn), clip, self.limits.sound_seconds, self.metrics.heard)
        found = endpoint.run(job, asked)
        if endpoint.media_type != LINES:
            from_thread.run(reply.whole, JSONResponse(asdict(found)))
            return
        with closing(found):
            for line in found:
                from_thread.run(reply.line, asdict(line))
        from_thread.run(reply.end)


class Failure(Exception):
    """What is told of a failure, on its way to where it is told."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.problem.detail)
        self.failed = failed


class _App:
    """The application of one endpoint."""

    def __init__(self, interface: Interface, endpoint: Endpoint) -> None:
        self._interface, self._endpoint = interface, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        reply = Reply(request, send)
        begin = time.monotonic()
        status = 499  # what nginx writes where whoever asked has gone
        try:
            await self._answer(request, reply)
            status = reply.status or status
        except ClientDisconnect:
            pass
        except Exception as error:
            failed = error.failed if isinstance(error, Failure) else Failed.of(error)
            status = failed.problem.status
            await read_on(request)
            await reply.failed(failed.problem, failed.response())
            if failed.is_ours:
                raise
        finally:
            self._interface.metrics.answered(self._endpoint.name, status, time.monotonic() - begin)

    async def _answer(self, request: Request, reply: Reply) -> None:
        endpoint = self._endpoint
        methods = ("GET", "HEAD") if endpoint.method == "GET" else (endpoint.method,)
        if request.method not in methods:
            allowed = ", ".join(methods)
            raise Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"there is no {request.method} here",
                fix=f"Use {allowed}.",
                headers={"Allow": allowed},
            )
        if endpoint.takes_upload:
            await self._interface.hear(endpoint, request, reply)
            return
        endpoint.read(request.query_params.multi_items())
        found = await endpoint.run(self._interface)
        if isinstance(found, bytes):
            await reply.whole(Response(found, media_type=endpoint.media_type))
        else:
            await reply.whole(JSONResponse(found if isinstance(found, Mapping) else asdict(found)))


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    failed = Failed.of(Refusal(HTTPStatus.NOT_FOUND, "there is nothing here", fix=f"See {PREFIX}/openapi.json."))
    await failed.response()(scope, receive, send)


_UPLOAD_REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_UPLOAD: dict[str, Any] = {"method": "POST", "takes_upload": True, "refusals": _UPLOAD_REFUSALS}

ENDPOINTS = (
    Endpoint(path=f"{PREFIX}/tags", summary="Tags of a recording", run=tags, asked=TagsAsked, answer=Tagged, **_UPLOAD),
    Endpoint(
        path=f"{PREFIX}/events",
        summary="Events of a recording, each as soon as it has ended; where reading fails later, the last line is an"
        " object `error` with the problem",
        run=events,
        asked=EventsAsked,
        answer=HeardEvent,
        media_type=LINES,
        **_UPLOAD,
    ),
    Endpoint(
        path=f"{PREFIX}/embeddings",
        summary="The embedding of a recording, or of each window where `window` or `hop` is given; errors as of events",
        run=embeddings,
        asked=WindowsAsked,
        answer=Embedded,
        media_type=LINES,
        **_UPLOAD,
    ),
    Endpoint(path=f"{PREFIX}/models", summary="The models that answer", run=Interface.models, answer=Models),
    Endpoint(path=f"{PREFIX}/openapi.json", summary="This description", run=Interface.openapi, answer=None),
    Endpoint(path="/health/live", summary="Whether the server answers", run=Interface.live, answer=Health),
    Endpoint(
        path="/health/ready",
        summary="Whether it takes uploads",
        run=Interface.ready,
        answer=Health,
        refusals=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
    Endpoint(path="/metrics", summary="Counts for Prometheus", run=Interface.counts, media_type=MEDIA_TYPE),
)
"""All of them, in the order of the description."""


def interface_routes(tagger: Tagger, limits: Limits | None = None) -> list[BaseRoute]:
    """The routes of the interface.

    Args:
        tagger: Answers; nobody else uses it meanwhile.
        limits: What is taken at most; None for the usual.
    """
    interface = Interface(tagger, Limits() if limits is None else limits)
    routes = [Route(one.path, _App(interface, one)) for one in ENDPOINTS]
    return [*routes, Mount(PREFIX, _unknown)]
