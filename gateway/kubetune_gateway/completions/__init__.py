"""Completions that clients asked to keep (``store: true``), and datasets of them."""
