"""The plugin host: finding plugins, keeping them apart, and turning names into descriptors."""

from audiotag.host.host import Host, get_host, reset_host
from audiotag.host.records import PluginRecord
from audiotag.host.registry import Registry

__all__ = ["Host", "PluginRecord", "Registry", "get_host", "reset_host"]
