"""Streams of cameras and radio stations (RTSP, HTTP), by PyAV."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from audiotag.audio.containers import OPTIONS, SoundFrames, import_av, sound_of
from audiotag.audio.failures import decoding
from audiotag.errors import AudioError
from audiotag.live.sources.base import LiveSource, SoundBlock, SourceSettings

_PATIENCE = 10.0
"""Seconds to wait for an answer, and for more sound."""
_JITTER = 0.05
"""Seconds by which times of packets may be off without anything being lost."""
_RTSP = {
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto",
    "format_whitelist": "rtsp,rtp,sdp," + OPTIONS["format_whitelist"],
    "rtsp_transport": "tcp",
    "allowed_media_types": "audio",
}
_SECRET = re.compile(r"([?&;](?:usr|user|username|login|pwd|pass|passwd|password|auth|key|token|secret)=)[^&;#]*", re.I)
_HTTP = {"protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto", "reconnect": "0"}


class UrlStream(LiveSource):
    """A stream at an address.

    One whose length is known is heard once. Others (radio stations, cameras) are opened again when they end.

    Args:
        place: The address.
        settings: Has nothing to say.

    Raises:
        MissingExtraError: PyAV is not installed.
        OptionError: There are settings.
    """

    def __init__(self, place: str, settings: SourceSettings) -> None:
        self.name = _without_credentials(place)
        settings.refuse(self.name)
        self._av = import_av("listening to a stream")
        self._address = place
        live = place.lower().startswith("rtsp")
        self._options = {**OPTIONS, **(_RTSP if live else _HTTP)}
        self.waits = not live
        self._closed = False

    def blocks(self) -> Iterator[SoundBlock]:
        """See `LiveSource.blocks`."""
        with decoding(self.name, "the stream cannot be opened", "Check its address, and that it is on."):
            container = self._av.open(
                self._address, options=self._options, timeout=_PATIENCE, metadata_errors="replace"
            )
        with container, decoding(self.name, "the stream has broken off", "It is tried again."):
            stream = sound_of(container, self.name)
            self.endless = not (self.waits and (stream.duration or container.duration))
            frames, expected, before = SoundFrames(self._av), None, time.monotonic()
            for frame in self._frames(container, stream):
                now = time.monotonic()
                lost = 0.0 if expected is None or frame.time is None else frame.time - expected
                if not self.waits:  # a sender that sets its clock has lost nothing
                    lost = min(lost, now - before + _JITTER)
                for samples in frames.samples(frame):
                    yield SoundBlock(samples, frame.sample_rate, lost if lost > _JITTER else 0.0)
                    lost = 0.0
                before, expected = now, None if frame.time is None else frame.time + frame.samples / frame.sample_rate

    def _frames(self, container: Any, stream: Any) -> Iterator[Any]:
        """Decoded frames; a packet that is damaged is passed over, and missed by the time of the next."""
        broken = 0
        for packet in container.demux(stream):
            if self._closed:
                return
            try:
                frames = packet.decode()
            except self._av.error.InvalidDataError as error:
                broken += 1
                if broken > 100:
                    raise AudioError("no packet of it can be decoded", where=self.name) from error
                continue
            broken = 0
            yield from frames

    def close(self) -> None:
        """See `LiveSource.close`; a wait for sound ends after ten seconds."""
        self._closed = True


def _without_credentials(address: str) -> str:
    """*address* as it was typed, but for user and password, wherever they stand."""
    address = re.sub(r"^([^:/?#]+://)[^/?#]*@", r"\1", address)
    return _SECRET.sub(r"\1***", address)
