"""What holds for a job: stalls and retries, conditions, status, transitions that become Events. Pure."""
