"""What the dashboards have in common: identity, variables, links to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dev.dashboards.panels import DATASOURCE

TAG = "kubetune"
FLEET, JOB, SERVING, GATEWAY = "kubetune-fleet", "kubetune-job", "kubetune-serving", "kubetune-gateway"
"""Identities of the dashboards, part of their URLs: never changed."""

_ALL = ".+"
"""What All stands for: a regular expression of all names would be a thousand long."""

Section = tuple[str, Sequence[Builder[models.Panel]]]
"""A row's title and the panels below it, from left to right."""


def board(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Builder[Any]],
    sections: Sequence[Section],
    *,
    shown: str = "6h",
) -> build.Dashboard:
    """Return a dashboard with the variables of all and its own; `shown` is the time that it begins with."""
    made = build.Dashboard(title).uid(uid).description(description).tags([TAG])
    made.time(f"now-{shown}", "now").refresh("30s").timezone("browser").tooltip(
        models.DashboardCursorSync.CROSSHAIR
    )
    made.with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made.with_variable(
        _names("namespace", "Namespace", "kubetune_job_state").multi(True).include_all(True).all_value(_ALL)
    )
    for variable in variables:
        made.with_variable(variable)
    made.link(
        build.DashboardLink("KubeTune")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )
    for name, panels in sections:
        made.with_row(build.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return made


def job_variable() -> build.QueryVariable:
    """Return the variable that names one job of the chosen namespaces."""
    return _names("finetunejob", "FineTuneJob", 'kubetune_job_state{namespace=~"$namespace"}')


def servers_variable() -> build.QueryVariable:
    """Return the variable that names jobs with servers in the chosen namespaces; all of them at first."""
    variable = _names("finetunejob", "FineTuneJob", 'kubetune_job_servers{namespace=~"$namespace"}')
    return variable.multi(True).include_all(True).all_value(_ALL)


def link_to_job() -> dict[str, object]:
    """Return the data link of a table's row to the dashboard of its job."""
    namespace, job = "${__data.fields.Namespace}", "${__data.fields.FineTuneJob}"
    chosen = f"var-datasource=${{datasource}}&var-namespace={namespace}&var-finetunejob={job}"
    return {"title": "Show this job", "url": f"/d/{JOB}?{chosen}&${{__url_time_range}}", "targetBlank": False}


def _names(label: str, title: str, selector: str) -> build.QueryVariable:
    variable = build.QueryVariable(label).label(title).datasource(DATASOURCE)
    variable.query({"query": f"label_values({selector}, {label})", "refId": f"variable-{label}"})
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(
        models.VariableSort.ALPHABETICAL_ASC
    )
