"""What Prometheus is told: the operator's own counters, and gauges of the jobs that there are."""
