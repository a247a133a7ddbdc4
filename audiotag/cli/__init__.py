"""The command line: one module per verb; heavy imports sit inside the verbs."""
