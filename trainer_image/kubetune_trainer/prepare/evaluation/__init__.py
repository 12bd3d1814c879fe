"""What the result will be asked: questions, the prompts of every candidate, and what they cost."""
