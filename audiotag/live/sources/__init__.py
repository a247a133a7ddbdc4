"""Where sound comes from as it happens."""
