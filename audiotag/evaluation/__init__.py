"""Measuring a model: metrics, thresholds and reports."""
