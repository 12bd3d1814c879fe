"""Styles of the report: wide and narrow, light and dark, and on paper."""

from __future__ import annotations

from typing import Final

STYLES: Final = """h1 { margin: 0 0 .2rem; font-size: 1.5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; overflow-wrap: anywhere; }
h4 { font-size: .85rem; margin: 0 0 .2rem; color: var(--quiet); overflow-wrap: anywhere; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.verdict { margin: 1rem 0; padding: .8rem 1rem; background: var(--panel); border: 1px solid var(--line);
  border-left: .4rem solid var(--edge); border-radius: 6px; }
.verdict strong { font-size: 1.15rem; }
.verdict.good { border-left-color: var(--good); } .verdict.bad { border-left-color: var(--bad); }
.good strong, td.good { color: var(--good); } .bad strong, td.bad { color: var(--bad); }
td.good, td.bad { white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.caption { color: var(--quiet); margin: 1rem 0 .2rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid var(--line); }
thead th { font-size: .85rem; color: var(--quiet); vertical-align: bottom; }
tbody th { font-weight: 600; overflow-wrap: anywhere; }
td { overflow-wrap: anywhere; }
.wide tbody th, .wide td { overflow-wrap: break-word; min-width: 4.5rem; }
@media screen { .figures td { white-space: nowrap; } }
.facts th { width: 14rem; font-weight: normal; color: var(--quiet); }
figure { margin: 1rem 0; }
figcaption { color: var(--quiet); margin-bottom: .3rem; }
svg { display: block; width: 100%; max-width: 38rem; height: auto; overflow: visible; }
svg text { font: 13px system-ui, sans-serif; fill: var(--text);
  paint-order: stroke; stroke: var(--ground); stroke-width: 5px; stroke-linejoin: round; }
svg .note { fill: var(--quiet); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--edge); }
svg .mark { stroke: var(--text); stroke-width: 2; fill: none; }
svg .thin { stroke-width: 1.2; }
svg .full { stroke: var(--text); fill: var(--text); }
svg .hollow { stroke: var(--text); stroke-width: 2; fill: var(--ground); }
svg .dashed { stroke-dasharray: 5 4; }
article { margin: 0 0 1.2rem; padding: .7rem .9rem; border: 1px solid var(--line); border-radius: 6px; }
article h3 { margin-top: 0; }
.sides { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr));
  margin-top: .7rem; }
.sides > div { min-width: 0; }
pre { padding: .5rem .7rem; line-height: 1.45; unicode-bidi: plaintext; }
@media (max-width: 30rem) {
  main { padding: .8rem; }
  .facts th, .facts td { display: block; width: auto; padding-right: 0; }
  .facts th { border-bottom: 0; padding-bottom: 0; } .facts td { padding-top: 0; }
}
@media print {
  body { font-size: 10.5pt; }
  pre, .verdict { background: none; }
  .wide { overflow: visible; }
  h2, h3, h4, .caption, figcaption, thead, section > p { break-after: avoid; }
  svg { max-width: 28rem; }
  .wide table, .facts { font-size: 9pt; }
  tr, figure, .verdict, article { break-inside: avoid; }
  .sides { grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
}
"""
