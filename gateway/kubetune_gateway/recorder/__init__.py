"""What one replica does for all: jobs are kept, cancelled ones deleted, webhooks sent."""
