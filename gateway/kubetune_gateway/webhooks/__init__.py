"""Webhooks: that a job has ended, to those who wait for it."""
