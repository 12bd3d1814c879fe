"""Builds and pushes the container images, and makes the demo's model. Needs no cluster."""
