"""How the page looks: light and dark, on a phone, on a desk and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --ink: #1c1e21; --pale: #5a6068; --line: #dcdcd6; --link: #0b5394;
  --accent: #0072b2; --warn: #8a3b00; --warn-ground: #fdf0e2;
  --name: 14rem; --frame: 0; --shade: #0000000d;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, "Liberation Serif", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171a; --ink: #e4e4df; --pale: #a3a9b1; --line: #343940; --link: #8cc4f5;
    --frame: .6rem; --shade: #ffffff12;
    --accent: #56b4e9; --warn: #ffc58f; --warn-ground: #33230f;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0 auto; max-width: 72rem; padding: 3rem clamp(1rem, 4vw, 3rem) 6rem;
  font: 1.0625rem/1.6 var(--serif); color: var(--ink); background: var(--ground); overflow-wrap: break-word;
}
a { color: var(--link); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
main:focus { outline: none; }
p, ul.notes { max-width: 42rem; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: .5rem; padding: .5rem 1rem; background: var(--ground); z-index: 3; }

h1, h2, h3, h4, h5 { line-height: 1.25; font-weight: 600; text-wrap: balance; scroll-margin-top: 1rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); margin: 0 0 .3rem; }
h2 {
  font-size: clamp(1.45rem, 4vw, 1.85rem); margin: 5rem 0 1.25rem; padding-top: 1.5rem;
  border-top: 1px solid var(--line);
}
nav + main > section:first-child h2 { margin-top: 2.5rem; }
h3 { font-size: 1.25rem; margin: 3.5rem 0 1rem; }
h4 { font-size: 1.0625rem; margin: 2rem 0 .5rem; }
h5 { font: 600 .875rem/1.4 var(--sans); margin: 1.5rem 0 .5rem; }
.id { font-weight: 400; color: var(--pale); margin-left: .5rem; overflow-wrap: anywhere; }
.made { font: .875rem/1.5 var(--sans); color: var(--pale); margin: 0 0 2rem; }

nav { font: .875rem/1.6 var(--sans); border-top: 1px solid var(--line); padding-top: 1rem; }
nav ol { list-style: none; margin: 0; padding: 0; }
nav ol > li + li { margin-top: 1.25rem; }
nav ul {
  list-style: none; margin: .25rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem;
}
nav li a { display: inline-block; padding: .2rem 0; text-decoration: none; }
nav li a:hover { text-decoration: underline; }
nav .to { font-weight: 600; }

.verdict { border-left: .25rem solid var(--accent); padding: .1rem 0 .1rem 1.25rem; margin: 1.5rem 0 2.5rem; }
.verdict h3 {
  font: 600 .8125rem/1.4 var(--sans); letter-spacing: .06em; text-transform: uppercase; color: var(--pale); margin: 0;
}
.verdict p { margin: .5rem 0; font-size: 1.1875rem; line-height: 1.5; }
.phantom { background: var(--warn-ground); color: var(--warn); padding: .75rem 1.25rem; border-radius: .3rem; }
.notes { font-size: .9375rem; color: var(--pale); padding-left: 1.1rem; }
.notes li + li { margin-top: .3rem; }

.scroll {
  container-type: inline-size; overflow-x: auto; margin: 1rem 0 1.5rem;
  /* A shade at the right edge as long as there is more to scroll to: its cover moves with what is scrolled. */
  background:
    linear-gradient(to left, var(--ground) 50%, transparent) right / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--shade), transparent) right / 1.25rem 100% no-repeat scroll;
}
table { border-collapse: separate; border-spacing: 0; min-width: 100%; font: .875rem/1.45 var(--sans); }
caption { text-align: left; padding-bottom: .9rem; }
.caption { position: sticky; left: 0; display: block; width: 100cqi; max-width: 44rem; color: var(--pale); }
.caption b { color: var(--ink); }
th, td {
  padding: .55rem 0 .55rem 1.5rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums lining-nums;
}
th { font-weight: 600; }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--pale); }
th:first-child {
  position: sticky; left: 0; z-index: 1; background: var(--ground); text-align: left; padding: .55rem .75rem .55rem 0;
 }
.name, tbody th .below {
  display: block; width: max-content; max-width: var(--name); white-space: normal; overflow-wrap: anywhere;
}
thead .name { margin-left: auto; }
thead .left .name, thead th:first-child .name { margin-left: 0; }
.left { text-align: left; white-space: normal; min-width: 8rem; max-width: 22rem; overflow-wrap: break-word; }
.below { display: block; font-weight: 400; font-size: .8125rem; color: var(--pale); }

figure { margin: 0; }
figcaption { font: .875rem/1.5 var(--sans); color: var(--pale); margin-top: .5rem; }
.figures figure { display: grid; grid-template: auto 1fr / minmax(0, 36rem) minmax(14rem, 1fr); gap: 0 2.5rem; }
.figures figure + figure { margin-top: 3.5rem; }
.figures h4 { margin: 0; grid-area: 1 / 2; }
.figures figcaption { grid-area: 2 / 2; }
.figures svg {
  grid-area: 1 / 1 / 3; width: 100%; height: auto; background: #fff; border-radius: .3rem; padding: var(--frame);
}

.keys {
  list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.5rem;
  font: .875rem/1.5 var(--sans);
}
.swatch {
  display: inline-block; width: .9em; height: .9em; margin-right: .5em; vertical-align: -.08em;
  border: 1px solid var(--pale);
}
.case {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; padding: 4px;
  margin: 0 -4px;
}
.case img { display: block; width: 100%; height: auto; border-radius: .2rem; }
.case figcaption { margin-top: .35rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.case b { display: block; color: var(--ink); }

details { border-top: 1px solid var(--line); margin: 2.5rem 0 0; }
details + details { margin-top: 0; }
summary { cursor: pointer; padding: .75rem 0; font: 600 1rem/1.4 var(--sans); }
summary h3 { display: inline; font: inherit; }
.card { font: .9375rem/1.5 var(--sans); margin: 0; max-width: 56rem; }
.card div {
  display: grid; grid-template-columns: 13rem 1fr; gap: 0 1.5rem; padding: .45rem 0;
  border-bottom: 1px solid var(--line);
}
.card dt { color: var(--pale); overflow-wrap: anywhere; }
.card dd { margin: 0; overflow-wrap: anywhere; }

@media (max-width: 60rem) {
  .figures figure { display: block; }
  .figures h4 { margin-bottom: .5rem; }
  .figures svg { display: block; max-width: 36rem; }
}
@media (max-width: 40rem) {
  :root { --name: 8.5rem; }
  body { padding-top: 1.5rem; font-size: 1rem; }
  h2 { margin-top: 3.5rem; }
  h3 { margin-top: 2.75rem; }
  th, td { padding-left: 1rem; }
  .verdict p { font-size: 1.0625rem; }
  .card div { grid-template-columns: 1fr; }
  .case {
    display: flex; overflow-x: auto; gap: .75rem; padding-bottom: .75rem;
    scroll-snap-type: x proximity; scroll-padding: 4px;
  }
  .case figure { flex: 0 0 min(70vw, 16rem); scroll-snap-align: start; }
}
@media print {
  :root {
    --ground: #fff; --ink: #000; --pale: #444; --line: #bbb; --link: #000; --warn: #000;
    --warn-ground: #eee;
  }
  body { font-size: 10pt; max-width: none; padding: 0; }
  nav, .skip { display: none; }
  h2 { margin-top: 2rem; }
  h3 { margin-top: 1.5rem; }
  h2, h3, h4, h5, caption { break-after: avoid; }
  figure, tr, .verdict, .phantom { break-inside: avoid; }
  .scroll, .case { overflow: visible; }
  .scroll { container-type: normal; }
  table { font-size: 7pt; }
  .below { font-size: 6.5pt; }
  .caption { position: static; width: auto; font-size: 9pt; }
  th, td { padding: .3rem 0 .3rem .35rem; white-space: normal; }
  th:first-child { position: static; padding: .3rem 0; }
  .name, tbody th .below { width: auto; }
  thead .name { overflow-wrap: break-word; }
  .left { min-width: 0; overflow-wrap: anywhere; }
  .figures figure { display: block; width: 12cm; max-width: 100%; }
  .figures figure + figure { margin-top: 1.5rem; }
  .case { grid-template-columns: repeat(4, 1fr); gap: .5rem; margin: 0; padding: 0; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
