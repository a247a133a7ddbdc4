"""The storage policies of the core, one file per idea."""
