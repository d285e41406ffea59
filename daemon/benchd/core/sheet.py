"""The style of the report: light and dark, screen and paper, wide and narrow. Nothing is loaded."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --ink: #1d2227; --soft: #5c656e; --rule: #dcdfe0; --wash: #f2f3f1;
  --shade: #1d222722;
  --good: #1a7f4b; --bad: #b3261e; --warn: #97650a; --calm: #47616f;
  --good-wash: #e4f3ea; --bad-wash: #fbe9e7; --warn-wash: #fbf1dc; --calm-wash: #e8eef1;
  --bar: #4f7cac; --bar-soft: #a9c1da; --dot: #1f3f63;
  --waiting: #d5d9dc; --queued: #e3b04b; --starting: #9ec3e0; --ready: #3f9e78;
  --unready: #c8503c; --running: #7d93c9; --measuring: #2b4a92;
  --c0: #2f6db3; --c1: #c4622d; --c2: #2e8b6b; --c3: #8a57b0; --c4: #b03a5b; --c5: #7b7a1e;
  --c6: #21849c; --c7: #6b6f76;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181c; --ink: #e3e6e8; --soft: #98a2aa; --rule: #2e353b; --wash: #1c2227;
    --shade: #000a;
    --good: #5fc492; --bad: #f0897e; --warn: #e0b05a; --calm: #a3bccb;
    --good-wash: #16301f; --bad-wash: #3a1d1b; --warn-wash: #33280f; --calm-wash: #1f2b32;
    --bar: #5b8cc0; --bar-soft: #34506f; --dot: #cfe0f2;
    --waiting: #3a4248; --queued: #b98a33; --starting: #40698a; --ready: #3c9a74;
    --unready: #d4604c; --running: #5d74b0; --measuring: #b3c4f0;
    --c0: #6da7e6; --c1: #ea945f; --c2: #5cc09c; --c3: #bd92e0; --c4: #ea7f9c; --c5: #c3c25c;
    --c6: #5fbfd6; --c7: #a6acb3;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 76rem;
  background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; margin: 0; }
h2 { font-size: 1.1rem; font-weight: 650; margin: 2.75rem 0 0.75rem; }
h3 { font-size: 0.9rem; font-weight: 600; margin: 0 0 0.35rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
code, pre { font: 0.86em/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
pre {
  margin: 0; padding: 1rem 1.2rem; overflow-x: auto; background: var(--wash); border-radius: 6px;
}
.muted { color: var(--soft); }
.small { font-size: 0.87rem; }
header .line { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem 0.9rem; }
.facts { display: flex; flex-wrap: wrap; gap: 0.3rem 2.2rem; margin: 1.1rem 0 0; }
.facts div { display: flex; flex-direction: column; }
dt { font-size: 0.78rem; color: var(--soft); }
dd { margin: 0; }
.badge {
  display: inline-block; padding: 0.08em 0.65em; border-radius: 1em; font-weight: 600;
  font-size: 0.82rem; white-space: nowrap; background: var(--calm-wash); color: var(--calm);
}
.badge.good { background: var(--good-wash); color: var(--good); }
.badge.bad { background: var(--bad-wash); color: var(--bad); }
.badge.warn { background: var(--warn-wash); color: var(--warn); }
.badge.large { font-size: 0.95rem; padding: 0.18em 0.9em; }
ul.notices { list-style: none; margin: 1.6rem 0 0; padding: 0; display: grid; gap: 0.4rem; }
ul.notices + .key { margin-top: 1rem; }
ul.notices li {
  display: grid; grid-template-columns: 13rem 1fr; gap: 0.2rem 1rem; padding: 0.5rem 0.9rem;
  border-left: 3px solid var(--calm); background: var(--calm-wash); border-radius: 0 5px 5px 0;
}
ul.notices li.error { border-color: var(--bad); background: var(--bad-wash); }
ul.notices li.warn { border-color: var(--warn); background: var(--warn-wash); }
ul.notices b { font-weight: 600; }
ul.notices .reach { font-weight: 600; margin-left: 0.7em; }
ul.notices .advice { display: block; color: var(--soft); font-size: 0.87rem; }
li.error b { color: var(--bad); } li.warn b { color: var(--warn); }
li.info b { color: var(--calm); }
.scroll {
  overflow-x: auto; background:
    linear-gradient(to right, var(--paper) 30%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 30%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / 0.8rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / 0.8rem 100% no-repeat scroll;
}
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th {
  text-align: left; vertical-align: bottom; font-weight: 600; font-size: 0.8rem; color: var(--soft);
  padding: 0.3rem 0.8rem 0.45rem 0; border-bottom: 1.5px solid var(--rule);
}
td {
  padding: 0.42rem 0.8rem 0.42rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: baseline;
}
th:last-child, td:last-child { padding-right: 0; }
tbody tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; }
th.n { white-space: normal; min-width: 4.2rem; }
.nowrap { white-space: nowrap; }
td .spread { display: block; color: var(--soft); font-size: 0.78rem; white-space: normal; }
td .partly { font-style: italic; }
th .unit { display: block; font-weight: 400; }
tr.invalid td.n { color: var(--soft); text-decoration: line-through; }
.charts {
  display: grid; gap: 1.8rem 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
}
.charts.many { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure .scroll { margin-top: 0.2rem; }
figcaption { font-size: 0.9rem; font-weight: 600; }
figcaption span { font-weight: 400; color: var(--soft); margin-left: 0.6em; font-size: 0.92em; }
svg.chart { display: block; width: 100%; min-width: 23rem; max-width: 38rem; height: auto; }
svg.chart.small { min-width: 17rem; max-width: 30rem; }
svg.chart.long { min-width: 46rem; max-width: none; }
svg text { font-size: 12px; fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .muted { fill: var(--soft); }
svg .value { font-weight: 600; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .bar { fill: var(--bar-soft); }
svg .dot { fill: var(--dot); stroke: var(--paper); stroke-width: 1; }
svg .range { stroke: var(--bar-soft); stroke-width: 3; stroke-linecap: round; }
svg .mark { stroke: var(--bar); stroke-width: 1.6; fill: var(--paper); }
svg .mark.p50 { fill: var(--bar); stroke: var(--paper); }
svg .mark.p99, svg .mark.p999 { fill: var(--dot); stroke: var(--paper); }
svg .curve { fill: none; stroke-width: 2; stroke: var(--c0); }
svg .curve.thinner { stroke-width: 1.4; stroke-linejoin: round; }
svg .curve.after { stroke-dasharray: 2 3; }
svg .curve.thin { opacity: 0.35; }
svg .trouble { fill: var(--bad); }
svg .curve.front { stroke-dasharray: 4 3; stroke-width: 1.4; }
svg .whisker { stroke-width: 1.2; stroke: var(--c0); opacity: 0.6; }
svg .spot { fill: var(--c0); stroke: var(--paper); stroke-width: 1; }
svg .spot.behind { fill: var(--bar-soft); }
svg .limit { stroke: var(--bad); stroke-width: 1.2; stroke-dasharray: 5 4; }
svg .curve.s1, svg .whisker.s1 { stroke: var(--c1); } svg .spot.s1 { fill: var(--c1); }
svg .curve.s2, svg .whisker.s2 { stroke: var(--c2); } svg .spot.s2 { fill: var(--c2); }
svg .curve.s3, svg .whisker.s3 { stroke: var(--c3); } svg .spot.s3 { fill: var(--c3); }
svg .curve.s4, svg .whisker.s4 { stroke: var(--c4); } svg .spot.s4 { fill: var(--c4); }
svg .curve.s5, svg .whisker.s5 { stroke: var(--c5); } svg .spot.s5 { fill: var(--c5); }
svg .curve.s6, svg .whisker.s6 { stroke: var(--c6); } svg .spot.s6 { fill: var(--c6); }
svg .curve.s7, svg .whisker.s7 { stroke: var(--c7); } svg .spot.s7 { fill: var(--c7); }
svg .heat { fill: var(--bar); }
svg .h0 { opacity: 0.12; } svg .h1 { opacity: 0.24; } svg .h2 { opacity: 0.36; }
svg .h3 { opacity: 0.48; } svg .h4 { opacity: 0.61; } svg .h5 { opacity: 0.74; }
svg .h6 { opacity: 0.87; } svg .h7 { opacity: 1; }
svg .onheat { fill: #14181c; font-weight: 600; }
svg .band { fill: var(--wash); }
svg .zero { stroke: var(--soft); stroke-width: 1; }
svg .reach { stroke: var(--calm); stroke-width: 2; }
svg .verdict { fill: var(--calm); stroke: var(--paper); stroke-width: 1; }
svg .verdict.better { fill: var(--good); } svg .reach.better { stroke: var(--good); }
svg .verdict.worse { fill: var(--bad); } svg .reach.worse { stroke: var(--bad); }
svg .verdict.same { fill: var(--bar); } svg .reach.same { stroke: var(--bar); }
svg .cross { stroke: var(--bad); stroke-width: 2.2; fill: none; }
svg .waiting { fill: var(--waiting); } svg .queued { fill: var(--queued); }
svg .starting { fill: var(--starting); } svg .ready { fill: var(--ready); }
svg .unready { fill: var(--unready); } svg .running { fill: var(--running); }
svg .measuring { fill: var(--measuring); }
.key {
  display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; margin: 0 0 0.6rem;
  font-size: 0.82rem; color: var(--soft);
}
.key i {
  display: inline-block; width: 0.9em; height: 0.9em; margin-right: 0.45em;
  border-radius: 3px; vertical-align: -0.08em;
}
.key .waiting { background: var(--waiting); } .key .queued { background: var(--queued); }
.key .starting { background: var(--starting); } .key .ready { background: var(--ready); }
.key .unready { background: var(--unready); } .key .running { background: var(--running); }
.key .measuring { background: var(--measuring); }
.key .p50 { background: var(--bar); border-radius: 50%; }
.key .p90 { border: 2px solid var(--bar); border-radius: 50%; }
.key .p99 { background: var(--dot); border-radius: 50%; }
.key .whole, .key .broken { height: 0; border-radius: 0; vertical-align: 0.25em; width: 1.6em; }
.key .whole { border-top: 2px solid var(--c0); }
.key .broken { border-top: 2px dotted var(--c0); }
.key .verdict { border-radius: 50%; background: var(--calm); }
.key .better { background: var(--good); } .key .worse { background: var(--bad); }
.key .same { background: var(--bar); }
.key .band { background: var(--wash); border: 1px solid var(--rule); border-radius: 3px; }
.key .trouble { background: var(--bad); }
section h3 { margin: 1.6rem 0 0.35rem; }
details { border-top: 1px solid var(--rule); padding: 0.55rem 0; }
details:last-of-type { border-bottom: 1px solid var(--rule); }
summary { cursor: pointer; font-weight: 600; font-size: 0.93rem; }
summary span { font-weight: 400; color: var(--soft); margin-left: 0.5em; }
details > div, details > pre, details > table { margin-top: 0.7rem; }
table.facts-table td:first-child { width: 16rem; color: var(--soft); }
footer { margin-top: 3rem; font-size: 0.82rem; color: var(--soft); }
@media (max-width: 40rem) {
  body { font-size: 14px; padding-top: 1.5rem; }
  ul.notices li { grid-template-columns: 1fr; }
  table.facts-table td:first-child { width: auto; }
}
@media print {
  :root {
    color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb; --wash: #f5f5f5;
    --good: #14653b; --bad: #9b1c15; --warn: #7a5107; --calm: #34495a;
    --good-wash: #eef7f1; --bad-wash: #fcefee; --warn-wash: #fdf6e7; --calm-wash: #eff3f5;
    --dot: #1f3f63; --bar: #4f7cac; --bar-soft: #a9c1da; --waiting: #d5d9dc; --queued: #e3b04b;
    --starting: #9ec3e0; --ready: #3f9e78; --running: #7d93c9; --measuring: #2b4a92;
  }
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { margin-top: 1.6rem; }
  .scroll { overflow: visible; background: none; }
  /* Nothing scrolls on paper: wide tables get small, and ranges break into lines. */
  table { font-size: 7.5pt; }
  th { font-size: 6.8pt; padding-right: 0.5rem; }
  td { padding: 0.25rem 0.5rem 0.25rem 0; }
  th.n { min-width: 0; }
  td.n, td.nowrap, td.nowrap code { white-space: normal; overflow-wrap: anywhere; }
  td .spread, .badge { font-size: 6.5pt; }
  .badge.large { font-size: 9pt; }
  .charts { grid-template-columns: 1fr 1fr; gap: 1rem 1.5rem; }
  .charts.many { grid-template-columns: 1fr 1fr 1fr; }
  svg.chart, svg.chart.small, svg.chart.long { min-width: 0; max-width: none; }
  figure, tr, li, h2, h3 { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; }
  pre { white-space: pre-wrap; }
  /* What is folded on the screen and belongs to the numbers is unfolded on paper. */
  details.paper::details-content { display: block; content-visibility: visible; height: auto; }
  details:not(.paper):not([open]), .screen { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
