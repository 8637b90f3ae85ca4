"""The report's style sheet: one column of text, light and dark, nothing from elsewhere."""

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1c2430; --faint: #66707d; --rule: #e2e5e9; --card: #ffffff;
  --train: #5b8fd6; --test: #d9792b; --right: 47, 133, 90; --wrong: 200, 66, 60;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181e; --ink: #e4e8ed; --faint: #95a0ad; --rule: #2c343e; --card: #1a2027;
    --train: #7fb0f2; --test: #f0a05a; --right: 88, 190, 136; --wrong: 240, 110, 100;
  }
}
* { box-sizing: border-box }
body {
  margin: 0 auto; padding: 3rem 1.5rem 5rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
header p { margin: 0; color: var(--faint) }
h1 { margin: 0 0 .2rem; font-size: 1.6rem; font-weight: 650; letter-spacing: -.01em }
h2 { margin: 3rem 0 .8rem; font-size: 1.1rem; font-weight: 650 }
p.note { margin: .2rem 0 1rem; color: var(--faint); max-width: 44rem }
.score { display: grid; gap: 1rem 1.5rem; margin: 1.8rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)) }
.score b { display: block; font-size: 2.1rem; font-weight: 600; line-height: 1.2 }
.score span { display: block; color: var(--faint); font-size: .9rem; line-height: 1.4 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem }
figure { margin: 0 }
figcaption { font-size: .9rem; color: var(--faint); margin-bottom: .4rem }
figcaption b { color: var(--ink); font-weight: 600 }
.key::before {
  content: ""; display: inline-block; width: 1.1em; height: .2em; margin: 0 .4em .25em .9em;
  border-radius: 1px; background: currentColor;
}
.key.train { color: var(--train) } .key.test { color: var(--test) }
.chart { width: 100%; height: auto; display: block }
.chart text { font-size: 12px; fill: var(--faint) }
.chart .grid { stroke: var(--rule); fill: none }
.chart .line { fill: none; stroke-width: 2.2; stroke-linejoin: round }
.chart .train { stroke: var(--train) } .chart .test { stroke: var(--test) }
.chart circle { stroke-width: 3; fill: none }
.scroll { overflow-x: auto }
.confusion { border-collapse: collapse; font-size: .92rem }
.confusion td, .confusion th { width: 2.9rem; height: 2.3rem; text-align: center; padding: 0 }
.confusion th { color: var(--faint); font-weight: 500 }
.confusion td { border: 1px solid var(--rule); background: var(--card) }
.confusion td.zero { color: transparent }
.mistakes { display: flex; flex-wrap: wrap; gap: 1.3rem 1.1rem }
.mistakes figure { width: 7.2rem }
.mistakes img {
  width: 7.2rem; height: 7.2rem; image-rendering: pixelated; border: 1px solid var(--rule);
  border-radius: 4px; display: block; margin-bottom: .35rem;
}
.mistakes figcaption { line-height: 1.35; margin: 0 }
.graph { background: #fff; border: 1px solid var(--rule); border-radius: 6px; padding: .6rem;
  overflow: auto; text-align: center }
.graph svg { max-width: 100%; height: auto }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.6rem; margin: 0 }
dt { color: var(--faint) } dd { margin: 0; overflow-wrap: anywhere }
code, pre { font: .88em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace }
pre { padding: .8rem 1rem; border: 1px solid var(--rule); border-radius: 6px; overflow-x: auto;
  background: var(--card) }
"""
