"""What computes: one interface, and the engines behind it. Nothing here imports torch before a torch engine is made."""
