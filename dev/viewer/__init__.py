"""Draws Grafana's dashboards without Grafana, from their JSON and a real Prometheus: enough to look at them.

It reads what Grafana would read, and knows nothing of how files were made. What it does not know is an error:
a panel that were left out would look like one that has nothing to say.
"""
