"""Checks the tools that a row offers to the model."""

from __future__ import annotations

from typing import Any

from .findings import Finding, Findings
from .json_text import decoded, is_finite, kind_of

Tool = dict[str, Any]


def check_tools(tools: Any, functions: Any, *, bare: bool = False) -> tuple[Tool, ...]:
    """Check a row's tools (or legacy functions) and bring them into the form of tools.

    ``bare`` tools may be written without ``function`` around them. Raises Findings.
    """
    for key, value in (("tools", tools), ("functions", functions)):
        if not isinstance(value, list | None):
            raise _invalid(f"{key} is {kind_of(value)}, not a list.")
    if tools and functions:
        raise _invalid("The row has both tools and functions. Keep tools.")
    tools = tools or [{"type": "function", "function": function} for function in functions or ()]
    return tuple(_checked(tool, number, bare=bare) for number, tool in enumerate(tools, start=1))


def _checked(tool: Any, number: int, *, bare: bool) -> Tool:
    if isinstance(tool, dict) and "function" not in tool and "name" in tool:
        if not bare:
            raise _invalid(
                f"Tool {number} has its name outside: name, description and parameters belong under the key "
                "function."
            )
        tool = {"type": "function", "function": {key: tool[key] for key in tool if key != "type"}}
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _invalid(f"Tool {number} has no function with a name.")
    if "parameters" in function:
        parameters = decoded(function["parameters"])  # text where a column holds tools with different ones
        if not isinstance(parameters, dict):
            raise _invalid(f"The parameters of tool {number} are {kind_of(parameters)}, not an object.")
        tool = {**tool, "function": {**function, "parameters": parameters}}
    if not is_finite(tool):
        raise _invalid(f"Tool {number} has NaN or Infinity, which are no JSON.")
    return dict(tool)


def _invalid(message: str) -> Findings:
    return Findings([Finding("invalid_tools", message)])
