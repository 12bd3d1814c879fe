"""The API server as the gateway uses it: raw JSON over HTTP, a watch of all FineTuneJobs, and its Lease."""
