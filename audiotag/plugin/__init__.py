"""All that a plugin author imports.

A plugin is a module named by an entry point of the group ``audiotag``. Its functions, marked with
`hookimpl`, return frozen descriptors (the ``…Spec`` classes) that name their implementation as
``"package.module:callable"``. The implementation is imported at first use, so a descriptor module must
be cheap: no torch, no pandas.

    from audiotag.plugin import BackboneSpec, hookimpl

    @hookimpl
    def register_backbones():
        return [BackboneSpec(name="tiny", family="tiny", factory="my_package.network:build", ...)]

The interfaces that implementations follow (`Backbone`, `Dataset`, `Loss`, …) and the parts to build them with are
here too. Names are resolved on first use, so that descriptors cost nothing.
"""

from audiotag.exports import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
