"""What every page has: a policy that lets nothing run or load, colours for light, dark and paper."""

from __future__ import annotations

from .text import escaped

LIGHT = {
    "text": "#1f2328",
    "ground": "#ffffff",
    "panel": "#f4f5f7",
    "line": "#d5d9de",
    "quiet": "#59636e",
    "edge": "#8b949e",
    "good": "#0b5d2b",
    "bad": "#a01f1b",
}
DARK = {
    "text": "#e6e8eb",
    "ground": "#14171b",
    "panel": "#1d2126",
    "line": "#343a42",
    "quiet": "#9aa4af",
    "edge": "#6b7580",
    "good": "#86e0a6",
    "bad": "#ffa39c",
}
"""``text``, ``quiet``, ``good`` and ``bad`` are read on ``ground`` and ``panel``; ``line`` and ``edge`` are
borders."""


def head(title: str, styles: str) -> str:
    """The page up to its heading; ``<main>`` is left open, and ``foot`` closes it."""
    text = escaped(title)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{text}</title>
<style>
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
@media print {{ :root {{ color-scheme: light; {_variables(LIGHT)} }} }}
{_STYLES}{styles}</style>
<main>
<h1>{text}</h1>
"""


def foot() -> str:
    """The end of the page."""
    return "</main>\n</html>\n"


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


_STYLES = """body { margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 1.5rem 0 .4rem; overflow-wrap: anywhere; }
small { font-weight: normal; color: var(--quiet); }
pre { margin: 0; padding: .8rem 1rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.7 ui-monospace, monospace; }
@media print { body { background: none; } main { max-width: none; padding: 0; } }
"""
