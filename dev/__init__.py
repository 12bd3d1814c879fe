"""Tools for people who work on KubeTune: the local cluster, its images and the demo. Never shipped.

Run from the repository root as `.venv/bin/python -m dev <command>`.
"""
