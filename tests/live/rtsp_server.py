"""A camera for tests: serves a recording by RTSP with Debian's gst-rtsp-server. Run by the system's Python."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f'( filesrc location="{sys.argv[1]}" ! wavparse ! audioconvert ! audioresample '
    "! audio/x-raw,format=S16BE,rate=8000,channels=1 ! rtpL16pay name=pay0 pt=96 )"
)
server.get_mount_points().add_factory("/sound", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.timeout_add_seconds(120, sys.exit)
GLib.MainLoop().run()
