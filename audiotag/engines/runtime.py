"""ONNX Runtime, imported so that it stays silent: its packages report their use unless they are told not to."""

from __future__ import annotations

import ctypes
import os
from typing import Any
from weakref import WeakSet

_SWITCH = "ORT_DISABLE_TELEMETRY"

_sessions: WeakSet[Any] = WeakSet()
"""Those that are open."""


def onnx_runtime() -> Any:
    """The module ``onnxruntime``. It is imported nowhere else.

    Importing it would make a number for this device and a file of events in the user's cache, and send them; it reads
    the switch against that once, at its import.
    """
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "1"
    try:
        import onnxruntime
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def open_session(network: str | bytes, threads: int, *, silent: bool = False) -> Any:
    """A session of ONNX Runtime on the CPU.

    Args:
        network: The path of a file, or its content.
        threads: Threads that compute.
        silent: Whether errors are not printed, beside being raised.
    """
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by spinning take the cores from those that work: on a busy machine twice the time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4 if silent else 3
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    _sessions.add(session)
    return session


def _keep_inherited() -> None:
    """When a session goes, it waits for its threads, which a forked process does not have: there it never goes."""
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)
