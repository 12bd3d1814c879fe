"""The trainer: prepares data and model, trains with DeepSpeed, publishes a verified artifact.

Runs inside pods as ``python -m kubetune_trainer prepare|train``. It never calls the Kubernetes API and
imports nothing of ``kubetune``.
"""
