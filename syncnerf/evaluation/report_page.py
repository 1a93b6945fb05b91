"""The report's page: style for light and dark, and the pieces that sections are made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --ink: #1b2430; --soft: #667085; --rule: #e3e6eb;
  --accent: #2f6fde; --test: #d9822b; --reference: #7a8699; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1319; --card: #181e27; --ink: #e6eaf0; --soft: #93a0b3;
  --rule: #2a3240; --accent: #6ea0ff; --test: #f0a45a; --reference: #8a96a8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 27px; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 4px; }
h3 { font-size: 14px; margin: 0 0 8px; color: var(--soft); font-weight: 600; }
p { margin: 0 0 14px; color: var(--soft); max-width: 110ch; }
header p { margin: 4px 0 22px; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 20px 22px;
  margin-bottom: 18px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(215px, 1fr)); gap: 14px; margin-bottom: 18px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 14px 18px; }
.card b { display: block; font-size: 26px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card b small { font-size: 15px; font-weight: 500; color: var(--soft); }
.card span { display: block; color: var(--soft); font-size: 13px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 18px 26px; }
.wide { overflow-x: auto; } .legend + .wide { margin-top: 16px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; font-size: 13px; color: var(--soft); border-bottom: 1px solid var(--rule);
  padding: 6px 12px; white-space: nowrap; }
td { text-align: right; padding: 5px 12px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
td small { color: var(--soft); }
.tag { font-size: 12px; padding: 1px 8px; border-radius: 99px; margin-left: 8px; border: 1px solid currentColor; }
.tag.test { color: var(--test); } .tag.reference { color: var(--reference); }
td.meter { width: 26%; min-width: 120px; }
.meter i { display: block; height: 8px; border-radius: 4px; background: var(--accent); min-width: 1px; }
.meter i.test { background: var(--test); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 8px 0 0 12px; font-size: 13px; color: var(--soft); }
.legend i { display: inline-block; width: 20px; vertical-align: middle; margin-right: 6px; }
.legend i.block { height: 10px; border-radius: 3px; }
.pictures { display: grid; grid-auto-flow: row; gap: 10px; margin-bottom: 16px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 13px; color: var(--soft); padding-top: 4px; overflow-wrap: anywhere; }
img, video { width: 100%; display: block; border-radius: 8px; background: var(--rule); }
figure.svg img { background: none; border-radius: 0; }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 16px; }
summary { cursor: pointer; font-weight: 600; font-size: 18px; }
pre { overflow-x: auto; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; margin: 12px 0 0; }
a { color: var(--accent); }
footer { color: var(--soft); font-size: 13px; }
"""


def page(title: str, subtitle: str, parts: Sequence[str]) -> str:
    """The whole page, from its title and subtitle (plain text) and its parts (HTML)."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, explanation: str, *content: str) -> str:
    """A section with its heading and explanation (plain text) and its content (HTML); nothing where that is empty."""
    body = "".join(content)
    return f"<section><h2>{escape(title)}</h2><p>{escape(explanation)}</p>{body}</section>" if body else ""


def card(label: str, value: str, unit: str, note: str) -> str:
    """A headline number: label, value with its unit, and a line under it; plain text."""
    return (
        f'<div class="card"><span>{escape(label)}</span><b>{escape(value)} <small>{escape(unit)}</small></b>'
        f"<span>{escape(note)}</span></div>"
    )


def number(value: float | None, decimals: int, signed: bool = False) -> str:
    """A number with a true minus sign; a dash where it is not known."""
    if value is None:
        return "\N{EN DASH}"
    # Adding zero turns a negative zero into zero.
    text = f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}")
