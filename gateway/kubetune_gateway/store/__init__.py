"""S3: the one place where the gateway remembers what Kubernetes does not."""
