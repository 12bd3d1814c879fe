"""Stands in front of vLLM, in its process, as ASGI middleware: what a client may ask, and how much at once.

Standard library only: the files are mounted into serving images that are not ours.
"""
