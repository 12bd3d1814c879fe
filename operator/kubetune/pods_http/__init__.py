"""Questions to a job's own pods over HTTP: progress, first answers."""
