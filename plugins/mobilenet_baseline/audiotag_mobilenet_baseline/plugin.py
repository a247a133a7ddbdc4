"""Descriptors of the MobileNet models."""
