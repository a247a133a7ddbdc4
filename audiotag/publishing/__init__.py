"""Models on the Hugging Face Hub: what goes there, the page beside it, and back."""
