"""The Grafana dashboards of the chart, as typed Python: one module each, and what they share.

`python -m dev.dashboards.write` writes charts/kubetune/files/dashboards/; with `--check` it says which are
out of date. What draws them without Grafana is `dev.viewer`, which reads the files and not these modules.
"""
