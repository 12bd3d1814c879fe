"""The local cluster: a real one-node Kubernetes on one Linux machine, without Docker.

`up.py` and `down.py` are the way in; each other module owns one part of the cluster.
"""
