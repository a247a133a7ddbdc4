"""Runs that are shared out: shards of a list, the folder that they write into, and what joins it."""
