"""Questions to a job's own pods over HTTP: progress, what servers say of themselves."""
