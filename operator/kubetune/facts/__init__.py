"""Raw objects of the cluster to values: projections, how runs ended, what a job's children tell. Pure."""
