"""The formats of labelled clips that the core reads, one file each."""
