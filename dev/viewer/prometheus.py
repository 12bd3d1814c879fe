"""Questions to Prometheus over its HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from dev.errors import DevError

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Series:
    """Labels, and values by time in Unix seconds; one value for an instant query."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        """The latest value that is a number, as Grafana's lastNotNull."""
        return next((value for _, value in reversed(self.points) if value == value), float("nan"))


class Prometheus:
    """One server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def at(self, expr: str, time: float) -> list[Series]:
        """Ask for the values at a time. Raises DevError with Prometheus' own words."""
        data = self._ask("query", {"query": expr, "time": f"{time:.3f}"})
        if data["resultType"] == "scalar":
            return [Series({}, [_point(data["result"])])]
        return [Series(each["metric"], [_point(each["value"])]) for each in data["result"]]

    def between(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """Ask for the values of a range, all `step` seconds. Raises DevError with Prometheus' own words."""
        question = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        data = self._ask("query_range", question)
        return [Series(each["metric"], [_point(p) for p in each["values"]]) for each in data["result"]]

    def label_values(self, selector: str, label: str, start: float, end: float) -> list[str]:
        """Ask for the values of a label of some series, in their order."""
        question = {"match[]": selector, "start": f"{start:.3f}", "end": f"{end:.3f}"}
        return sorted(self._ask(f"label/{label}/values", question))

    def _ask(self, path: str, question: Mapping[str, str]) -> Any:
        try:
            answer = self._client.get(f"/api/v1/{path}", params=question)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise DevError(f"Prometheus at {self._url} cannot be asked: {error}") from error
        if body.get("status") != "success":
            raise DevError(f"Prometheus refuses {question.get('query', path)}: {body.get('error')}")
        return body["data"]


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
