"""EquiAV for audiotag."""
