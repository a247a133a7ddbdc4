"""Names for what is computed from clips and kept on disk: the same sound has the same name, wherever it lies."""

from __future__ import annotations

import hashlib
from typing import cast

from audiotag.data.clips import Clip
from audiotag.data.recording import clip_digest
from audiotag.models.backbone import Backbone


def clip_key(clip: Clip, backbone: Backbone) -> str:
    """A name for what *backbone* hears and sees of *clip*: the content of its file and the part of it."""
    parts = [f"{clip.start:g}", "end" if clip.stop is None else f"{clip.stop:g}"]
    if "waveform" in backbone.inputs:
        parts.append(clip_digest(clip))
    if "video" in backbone.inputs:
        from audiotag.data.video import read_frame

        picture = read_frame(clip, cast(tuple[int, int, int], backbone.video_shape))
        parts.append(hashlib.blake2b(picture.tobytes(), digest_size=16).hexdigest())
    return "/".join(parts)
