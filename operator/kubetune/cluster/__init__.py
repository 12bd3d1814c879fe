"""What the operator knows of the cluster and how it asks: the API server's client, watches, index."""
