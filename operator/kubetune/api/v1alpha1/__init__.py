"""kubetune.dev/v1alpha1, one module per noun."""

from kubetune.api.v1alpha1.job import FineTuneJob, FineTuneJobSpec, validate_spec
from kubetune.api.v1alpha1.status import Status

__all__ = ["FineTuneJob", "FineTuneJobSpec", "Status", "validate_spec"]
