"""Messages to an address of HTTP, posted as JSON."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from urllib.parse import urlsplit

import requests

from audiotag.errors import OptionError
from audiotag.live.messages import Message
from audiotag.live.outputs.delivery import Delivery, NotDeliveredError, RefusedError
from audiotag.live.outputs.names import digest
from audiotag.live.outputs.secrets import secret
from audiotag.live.outputs.settings import OutputSettings

_TRIED_AGAIN = (408, 425, 429)
"""Answers that blame the moment, beside those from 500 on."""


class WebhookDelivery(Delivery):
    """Posts every begin and end.

    The header ``Idempotency-Key`` is the same for a message that comes again. With a secret, ``X-Signature-256`` is
    ``sha256=`` and the HMAC of the body.

    An answer of 2xx is an arrival. 408, 425, 429, 5xx and none at all are tried again, after the ``Retry-After`` that
    the answer states; anything else is refused for good.

    Args:
        settings: The device.
        url: The address, ``https:`` or ``http:``.
        secret_file: File whose first line is the secret; None for the environment's ``AUDIOTAG_WEBHOOK_SECRET``.
        timeout: Seconds to wait for an answer.

    Raises:
        OptionError: It is no such address.
        OutputError: The file cannot be read.
    """

    def __init__(
        self, settings: OutputSettings, *, url: str, secret_file: str | None = None, timeout: float = 10.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError("this is no address for a webhook", where=url, fix="Give http://… or https://…")
        if not 0 < timeout <= 30:
            raise OptionError(
                f"a webhook cannot wait {timeout:g} s for an answer", fix="Give more than 0 and up to 30."
            )
        self.name = f"webhook-{digest(url)}"
        self._url = url
        self._shown = f"{parts.scheme}://{parts.hostname}"  # what follows is often a secret
        self._secret = secret(secret_file, "AUDIOTAG_WEBHOOK_SECRET")
        self._timeout = timeout
        self._session = requests.Session()

    def deliver(self, message: Message, *, earlier: bool) -> None:
        """Post *message*."""
        body = message.to_json().encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"audiotag/{version('audiotag')}",
            "Idempotency-Key": message.key,
        }
        if self._secret is not None:
            signature = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Signature-256"] = f"sha256={signature}"
        try:
            answer = self._session.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            raise NotDeliveredError(f"{self._shown} does not answer ({type(error).__name__}).") from error
        told = f"{self._shown} answers {answer.status_code} {answer.reason}."
        if answer.status_code in _TRIED_AGAIN or answer.status_code >= 500:
            raise NotDeliveredError(told, after=_retry_after(answer.headers.get("Retry-After")))
        if not 200 <= answer.status_code < 300:
            raise RefusedError(told)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def _retry_after(text: str | None) -> float | None:
    """The seconds that a header asks for, as a number or as a date; None where it does not."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
