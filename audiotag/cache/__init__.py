"""What is kept on this machine to save work: decoded clips, embeddings, weights. It may be deleted at any time."""
