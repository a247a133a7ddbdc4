"""Labels: what an ontology and a model say about those that people gave."""
