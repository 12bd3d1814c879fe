"""Files of clients, in S3: rows to train on, and results."""
