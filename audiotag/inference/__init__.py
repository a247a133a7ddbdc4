"""Tagging recordings: clips, events with timestamps, and the files they are written to."""
