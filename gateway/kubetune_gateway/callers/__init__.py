"""Who calls and what they may, as Kubernetes knows it: tokens, API keys, rights."""
