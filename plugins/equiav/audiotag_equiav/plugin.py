"""Descriptors of the EquiAV models."""
