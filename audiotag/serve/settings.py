"""Settings of the server."""

from __future__ import annotations

from audiotag.settings import COUNT, FROM_ONE, POSITIVE, SettingsGroup, setting


class Limits(SettingsGroup):
    """Limits of the HTTP interface."""

    WHERE = "limits"
    TITLE = "HTTP interface"

    upload_mb: float = setting(200.0, help="Largest upload, in megabytes.", range=POSITIVE)
    uploads_mb: float = setting(
        1000.0, help="Megabytes that all uploads at work have on disk together.", range=POSITIVE
    )
    sound_seconds: float = setting(3600.0, help="Longest recording that is taken.", range=POSITIVE)
    at_once: int = setting(2, help="Uploads that are computed at once.", range=FROM_ONE)
    waiting: int = setting(8, help="Uploads that are received or wait beside them; more are refused.", range=COUNT)
    request_seconds: float = setting(300.0, help="Longest time that an upload and its answer take.", range=POSITIVE)
