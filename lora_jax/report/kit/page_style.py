"""The style sheet of the report: plain, light and dark by the reader's setting, and fit to print."""

CSS = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --soft: #5c5c5c; --line: #d8d8d8;
  --mark: #fff4d6; --stripe: #f6f6f6; --link: #0060a0; --bad: #b00020; --good: #00694a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181b; --soft: #a5a5a5;
  --line: #3a3d42; --mark: #4a3b10; --stripe: #1e2125; --link: #7cc0f0; --bad: #ff8a8a; --good: #6fd3ae; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.8rem; margin: 0 0 .5rem; } h1, h2, h3 { overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line);
  padding-bottom: .2rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 50rem; } a { color: var(--link); }
nav { font-size: .9rem; } nav a { margin-right: .9rem; white-space: nowrap; }
pre { white-space: pre-wrap; font: .88rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; background: var(--stripe); padding: .8rem 1rem; border-radius: 4px;
  max-width: 62rem; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.question { font-size: 1.05rem; }
.note { color: var(--soft); font-size: .88rem; } .verdict { font-weight: 600; }
.verdict.bad { color: var(--bad); } .verdict.good { color: var(--good); }
.warnings { background: var(--mark); padding: .6rem 1rem .6rem 2.2rem; border-radius: 4px; }
summary { cursor: pointer; color: var(--link); } details { margin: .5rem 0; }
.figures { display: grid; gap: 2rem; } sup { line-height: 0; }
figure { margin: 0; max-width: 52rem; }
figure :is(img, svg) { width: 100%; height: auto; background: #fff; border-radius: 4px; }
figure svg { stroke-linejoin: round; stroke-linecap: butt; } figure use:hover { stroke: #D55E00; }
figcaption { font-size: .88rem; color: var(--soft); } figcaption b { color: var(--ink); }
.scroll { overflow-x: auto; margin-top: .8rem; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { border-bottom: 2px solid var(--line); white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
.scripted th { cursor: pointer; } .scripted th:hover { color: var(--link); }
th[aria-sort="ascending"]::after { content: " \\25b2"; font-size: .7em; }
th[aria-sort="descending"]::after { content: " \\25bc"; font-size: .7em; }
button { font: .8rem system-ui, sans-serif; color: var(--link); background: none; cursor: pointer;
  border: 1px solid var(--line); border-radius: 4px; padding: .15rem .6rem; margin: .4rem 0; }
td:last-child:not(.number) { min-width: 12rem; }
td:nth-child(-n+4) { white-space: nowrap; } #runs table { font-size: .82rem; }
#runs th { white-space: normal; vertical-align: bottom; } #runs :is(th, td) { padding-right: .6rem; }
tr.flagged td { background: var(--mark); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { body { padding: .8rem; } h1 { font-size: 1.4rem; } pre { font-size: .75rem; }
  nav a { white-space: normal; overflow-wrap: anywhere; }
  .scroll { border: 1px solid var(--line); border-radius: 4px; padding: 0 .5rem; }
  caption { position: sticky; left: 0; white-space: normal; max-width: calc(100vw - 3rem); }
  table, #runs table { font-size: .8rem; } dl { grid-template-columns: 1fr; gap: 0; } dd {
  margin: 0 0 .4rem; } p, li { overflow-wrap: anywhere; } .warnings { padding-left: 1.4rem; }
  figure { overflow-x: auto; } figure :is(img, svg) { width: 38rem; max-width: none; }
  figcaption { position: sticky; left: 0; } .figures { grid-template-columns: minmax(0, 1fr); } }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --stripe: #fff; --mark: #eee; }
  nav, button { display: none; } body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { overflow: visible; } table, #runs table { font-size: 7pt; }
  :is(td, th), #runs :is(td, th) { white-space: normal !important; padding-right: .35rem; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
  .figures { grid-template-columns: 1fr 1fr; gap: 1rem; } }
"""
