"""Chat templates: what a row looks like to the model, and which of its tokens are learned."""
