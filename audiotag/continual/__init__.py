"""Bounded stores of labelled clips, the policies that decide what they keep, and measures of forgetting."""
