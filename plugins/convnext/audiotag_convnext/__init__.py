"""ConvNeXt-Tiny on AudioSet for audiotag."""
