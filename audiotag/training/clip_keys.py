"""Names for what is computed from clips and kept on disk: the same sound has the same name, wherever it lies.

Whatever decides the result is in the name: the network with its code and options, the part of the recording that is
heard and how it is cut, and the content of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import cast

from audiotag.cache.place import cache_key
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.recording import clip_digest, part_name
from audiotag.engines.interface import Engine, EngineFacts
from audiotag.models.backbone import Backbone
from audiotag.models.fingerprints import backbone_fingerprint, code_fingerprint
from audiotag.models.model import Model


def embedding_keys(clips: ClipSet, model: Model, bounds: tuple[float, float]) -> list[str]:
    """Names for what the head of *model* takes for each clip, heard at a length (s) within *bounds*."""
    network = (version("audiotag"), code_fingerprint(model), backbone_fingerprint(model), *map(repr, bounds))
    return [cache_key("head", *network, _clip_key(clip, model.backbone)) for clip in clips]


def teacher_keys(clips: ClipSet, engines: Sequence[Engine], combine: str) -> list[str]:
    """Names for the logits of each clip by *engines*, whose scores are combined by the rule *combine*."""
    who = [f"{engine.code_fingerprint()}.{engine.fingerprint()}" for engine in engines]
    networks = (version("audiotag"), *who, combine if len(engines) > 1 else "")
    heard = [dict.fromkeys(_clip_key(clip, one.facts) for one in engines) for clip in clips]
    return [cache_key("teacher", *networks, *parts) for parts in heard]


def _clip_key(clip: Clip, network: Backbone | EngineFacts) -> str:
    """A name for what *network* hears and sees of *clip*: the content of its file and the part of it."""
    parts = [part_name(clip)]
    if "waveform" in network.inputs:
        parts.append(clip_digest(clip))
    if "video" in network.inputs:
        from audiotag.data.video import read_frame

        picture = read_frame(clip, cast(tuple[int, int, int], network.video_shape))
        parts.append(hashlib.blake2b(picture.tobytes(), digest_size=16).hexdigest())
    return "/".join(parts)
