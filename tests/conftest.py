"""How `pytest -n` spreads tests over its processes: docs/adr/0050-tests-wait-beside-each-other.md."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

# How long an example takes says only what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

IN_TURN = "the cluster as a whole"
"""What one process runs, so that an order is kept: for minutes after everything was killed, Prometheus still
tells of the pods of before."""

IN_TURN_FILES = {
    "tests/cluster/test_cluster_lifecycle.py",
    "tests/cluster/test_demo_job.py",
    "tests/cluster/test_prometheus.py",
    "tests/cluster/test_up_after_a_kill.py",
}

LONGEST = (
    IN_TURN,
    "tests/faults/test_watches.py",
    "tests/cluster/test_failures.py",
    "tests/trainer/test_training_runs.py",
    "tests/cluster/test_first_steps.py",
    "tests/cluster/test_evaluation.py",
    "tests/trainer/test_questions.py",
    "tests/trainer/test_evaluate.py",
)
"""They begin first, each in a process of its own. The others go to whichever process has time."""


def unit(nodeid: str) -> str:
    """What a test runs in one process with: its file, for the sake of the file's fixtures, or more."""
    file = nodeid.partition("::")[0]
    return IN_TURN if file in IN_TURN_FILES else file


class _Scheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Scheduling:
    config.option.loadscopereorder = False  # the order is that of below, and not by how many tests there are
    return _Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what takes longest, and in it last what kills parts of the cluster."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        found = unit(item.nodeid)
        longest = LONGEST.index(found) if found in LONGEST else len(LONGEST)
        return longest, item.get_closest_marker("disruptive") is not None

    items.sort(key=place)
