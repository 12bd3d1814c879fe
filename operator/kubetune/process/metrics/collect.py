"""Tells Prometheus of the jobs that there are when it asks: the series vanish with the objects."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from ...vocabulary.json_values import dicts_of, text_of
from .job import Job
from .series import Series

Jobs = Callable[[], Iterable[Job]]
"""All FineTuneJobs, as they are now."""

OF_JOB: Final = ("namespace", "finetunejob")
"""Labels of everything that is one job's."""


class JobsCollector:
    """Counts jobs by condition, and tells of each what the table of series says."""

    def __init__(self, jobs: Jobs, series: Sequence[Series]) -> None:
        self._jobs = jobs
        self._series = series

    def families(self) -> list[GaugeMetricFamily]:
        """All families, of no job yet; the first one counts."""
        return [
            GaugeMetricFamily(
                "kubetune_jobs",
                "FineTuneJobs by namespace and by each condition that is True; from the operator that acts.",
                labels=["namespace", "condition"],
            ),
            *(
                GaugeMetricFamily(each.name, each.documentation, labels=[*OF_JOB, *each.labels])
                for each in self._series
            ),
        ]

    def describe(self) -> Iterator[Metric]:
        """Name without values, so that registration does not ask for any."""
        yield from self.families()

    def collect(self) -> Iterator[Metric]:
        """Tell them now."""
        counts, *families = self.families()
        tally: Tally[tuple[str, str]] = Tally()
        for job in self._jobs():
            for condition in dicts_of(job.status.get("conditions")):
                if condition.get("status") == "True":
                    tally[job.namespace, text_of(condition.get("type"))] += 1
            for family, series in zip(families, self._series, strict=True):
                for labels, value in series.values(job):
                    family.add_metric([job.namespace, job.name, *labels], value)
        for (namespace, type_), count in sorted(tally.items()):
            counts.add_metric([namespace, type_], count)
        yield counts
        yield from families
