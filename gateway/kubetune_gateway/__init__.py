"""OpenAI's fine-tuning API over FineTuneJobs: what a client asks for becomes one, and is told of it.

It builds on ``kubetune.api`` and knows nothing of the operator that acts.
"""
