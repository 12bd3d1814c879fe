"""What is kept of jobs in S3, beyond their FineTuneJobs."""
