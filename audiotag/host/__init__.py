"""The plugin host: finding plugins, keeping them apart, and turning names into descriptors."""

from audiotag.host.host import Host, get_host, reset_host
from audiotag.host.records import PluginRecord

__all__ = ["Host", "PluginRecord", "get_host", "reset_host"]
