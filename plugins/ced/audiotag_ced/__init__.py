"""CED on AudioSet for audiotag."""
