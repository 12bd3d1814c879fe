"""The KubeTune operator: one FineTuneJob from a dataset to a served model."""

__version__ = "0.1.0"
