"""Lists of labelled clips, from the files that users have."""
