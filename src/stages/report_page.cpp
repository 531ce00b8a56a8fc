#include "report_page.hpp"

namespace refract {

std::string_view report_style() {
  return R"css(
:root{--paper:#faf9f6;--card:#fff;--ink:#23262b;--soft:#666c75;--faint:#9aa0a8;--line:#e6e3dc;--accent:#1f6f78;
--accent-soft:#e3f0f0;--fire:232,145,20;--warn:#9a6b1f;--warn-soft:#f8efdc;--s0:#1f6f78;--s1:#c8702a;--s2:#6b5ca5;--s3:#4d8b4a;
--s4:#b0476b;--s5:#5b6b7b}
@media (prefers-color-scheme:dark){:root{--paper:#16181b;--card:#1e2125;--ink:#e6e4df;--soft:#a2a7ae;--faint:#737982;
--line:#30343a;--accent:#6fc3c9;--accent-soft:#20363a;--fire:240,160,50;--warn:#e0b566;--warn-soft:#3a3122;--s0:#6fc3c9;--s1:#e79a5b;
--s2:#a99be0;--s3:#8cc487;--s4:#e08aa8;--s5:#9fb0c0}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
-webkit-font-smoothing:antialiased}
main,header.top,footer{max-width:1120px;margin:0 auto;padding:0 24px}
header.top{padding-top:44px}
h1{font:600 30px/1.25 Georgia,"Iowan Old Style","Noto Serif",serif;margin:0 0 6px;letter-spacing:-.01em}
h2{font:600 22px/1.3 Georgia,"Iowan Old Style","Noto Serif",serif;margin:52px 0 6px}
h3{font-size:16px;margin:0}
p.lead{color:var(--soft);margin:0 0 18px;max-width:74ch}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
code,.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.88em}
.facts{display:flex;flex-wrap:wrap;gap:4px 26px;margin:14px 0 0;padding:0;color:var(--soft);font-size:14px}
.facts div{display:flex;gap:7px}.facts dt{color:var(--faint)}.facts dd{margin:0;color:var(--ink);overflow-wrap:anywhere}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px}
.hero{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px;margin:26px 0 18px}
.hero .big{font:600 46px/1.05 Georgia,"Noto Serif",serif;color:var(--accent)}
.hero .of{color:var(--soft)}.hero .who{font-weight:600}
.bars{margin-top:14px;display:grid;grid-template-columns:auto 1fr auto;gap:5px 12px;align-items:center;font-size:14px}
.bars span:nth-child(3n+1){color:var(--soft)}.bars .n{font-variant-numeric:tabular-nums;text-align:right}
.bar{height:9px;border-radius:5px;background:var(--line);overflow:hidden}.bar i{display:block;height:100%;background:var(--faint)}
.bar.own i{background:var(--accent)}
.scroll{overflow-x:auto}
table.plain{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
table.plain th{font-weight:600;color:var(--soft);text-align:right;padding:6px 12px;border-bottom:1px solid var(--line);vertical-align:bottom}
table.plain td{text-align:right;padding:7px 12px;border-bottom:1px solid var(--line)}
table.plain th:first-child,table.plain td:first-child{text-align:left;padding-left:0}
table.plain tr:last-child td{border-bottom:0}
table.plain .words{text-align:left}table.plain td{white-space:nowrap}table.plain td.words{white-space:normal}
details.table{margin-top:10px}details.table>summary{color:var(--ink);font-size:15px}details.table>summary span{color:var(--soft)}
.verdict{display:inline-block;padding:1px 8px;border-radius:9px;white-space:nowrap;background:var(--accent-soft);color:var(--accent)}
.verdict.watch{background:var(--warn-soft);color:var(--warn)}.verdict.red{background:rgba(190,50,40,.14);color:#c0392b}
.verdict.none{background:none;color:var(--faint);padding-left:0}
td.strong{font-weight:700;color:var(--accent)}
.tabs{display:flex;flex-wrap:wrap;gap:6px;margin:4px 0 14px}
button,select,input{font:inherit;color:inherit}
button{background:none;border:1px solid var(--line);border-radius:8px;padding:5px 13px;cursor:pointer;font-size:14px}
button:hover{border-color:var(--accent)}
button[aria-pressed=true],button[aria-selected=true]{background:var(--accent-soft);border-color:var(--accent);color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:16px}
.feature{display:flex;flex-direction:column;gap:9px;text-align:left;cursor:pointer;transition:border-color .15s}
.feature:hover{border-color:var(--accent)}
.feature .head{display:flex;justify-content:space-between;gap:12px;align-items:baseline}
.label{font:600 17px/1.35 Georgia,"Noto Serif",serif;overflow-wrap:anywhere}
.id{color:var(--faint);font-size:13px;white-space:nowrap;font-variant-numeric:tabular-nums}
.more{color:var(--soft);font-size:14px}
.string{font-size:14.5px;line-height:1.65;overflow-wrap:anywhere;border-left:2px solid var(--line);padding-left:11px}
.string .t{border-radius:4px;padding:1px 0;white-space:pre-wrap}
.string .c{font-weight:650;box-shadow:0 1.5px 0 rgb(var(--fire))}
.string .from{display:block;color:var(--faint);font-size:12.5px}
.string .ctl{color:var(--faint)}
.pill{display:inline-block;max-width:100%;overflow:hidden;text-overflow:ellipsis;vertical-align:middle;border-radius:99px;padding:1px 9px;font-size:12.5px;white-space:nowrap}
.pill.ok{background:var(--accent-soft);color:var(--accent)}.pill.single{background:var(--warn-soft);color:var(--warn)}
.pill.none{border:1px solid var(--line);color:var(--soft)}
.tools{display:flex;flex-wrap:wrap;gap:8px;align-items:center;margin:4px 0 12px}
.tools input[type=search]{flex:1 1 240px;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:7px 12px}
.tools .tabs{margin:0}.tools .found{color:var(--soft);font-size:14px;margin-left:auto}
.list{border:1px solid var(--line);border-radius:12px;background:var(--card);overflow:hidden}
.row{display:grid;grid-template-columns:70px minmax(0,1fr) 76px 86px 84px 150px;gap:10px;align-items:center;height:36px;padding:0 16px;
font-size:14px;font-variant-numeric:tabular-nums}
.row>*{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row.names{border-bottom:1px solid var(--line);height:40px}
.row.names button{border:0;padding:0;font-weight:600;color:var(--soft);text-align:left;border-radius:3px}
.row.names button[aria-sort]{color:var(--accent)}
.row .r,.row.names button.r{text-align:right}
.view{height:540px;overflow-y:auto;position:relative}
.view .row{position:absolute;left:0;right:0;cursor:pointer}
.view .row:hover,.view .row.now{background:var(--accent-soft)}
.dim{color:var(--faint)}
aside{position:fixed;inset:0 0 0 auto;width:min(640px,100vw);background:var(--paper);border-left:1px solid var(--line);overflow-y:auto;
padding:22px 26px 60px;box-shadow:-14px 0 40px rgba(0,0,0,.14);z-index:5}
aside[hidden]{display:none}
aside .bar-top{display:flex;gap:8px;align-items:center;margin-bottom:14px}
aside .bar-top .id{margin-right:auto}
aside h3{font:600 15px/1.4 system-ui,sans-serif;color:var(--soft);margin:24px 0 8px}
aside .title{font:600 24px/1.3 Georgia,"Noto Serif",serif;overflow-wrap:anywhere;margin:0 0 10px}
aside .strings{display:grid;gap:14px}
.chips{display:flex;flex-wrap:wrap;gap:6px}.chips span{background:var(--card);border:1px solid var(--line);border-radius:7px;padding:1px 9px;font-size:14px}
.near{display:grid;grid-template-columns:auto auto 1fr;gap:3px 14px;font-size:14px;align-items:baseline}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:16px}
.charts .card{padding:14px 16px 8px}.charts h3{font-size:15px}.charts .sub{color:var(--faint);font-size:13px}
svg{display:block;width:100%;height:auto}svg text{fill:var(--faint);font-size:11px;font-family:inherit}
svg .axis{stroke:var(--line)}svg .band{opacity:.14}svg .curve{fill:none;stroke-width:2;stroke-linejoin:round}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:14px;margin:0 0 12px;color:var(--soft)}
.legend i{display:inline-block;width:18px;height:3px;border-radius:2px;vertical-align:middle;margin-right:7px}
.note{color:var(--soft);font-size:14px;max-width:78ch}
details{margin-top:14px}summary{cursor:pointer;color:var(--soft)}
footer{margin-top:60px;padding-top:18px;padding-bottom:60px;color:var(--faint);font-size:14px;border-top:1px solid var(--line)}
kbd{border:1px solid var(--line);border-bottom-width:2px;border-radius:5px;padding:0 6px;font-size:12.5px;font-family:inherit;background:var(--card)}
[hidden]{display:none!important}
@media (max-width:760px){.row{grid-template-columns:54px minmax(0,1fr) 60px 100px}.row>:nth-child(4),.row>:nth-child(5){display:none}
main,header.top,footer{padding-left:16px;padding-right:16px}}
@media print{aside,.tools,.tabs{display:none}.view{height:auto}}
@media (prefers-reduced-motion:reduce){*{scroll-behavior:auto;transition:none}}
)css";
}

std::string_view report_body() {
  return R"html(<header class="top"><h1 id="title">refract report</h1><p class="lead" id="summary"></p><dl class="facts" id="facts"></dl></header>
<noscript><p>This page shows its data with the script it carries. Allow scripts for this file; it loads nothing.</p></noscript>
<main>
<section aria-label="How many features can be read"><div class="hero" id="hero"></div><div class="card scroll" id="counts"></div>
<details><summary>What counts as readable</summary><p class="note">For each feature we take the 200 training windows (the firing token and
12 tokens on either side, at most 3 of one document) on which it fires most strongly, and find the words that are typical of them against
the whole corpus: log-odds with an informative Dirichlet prior, which keeps rare words from the top. Then we ask on documents that were
held out from the start: do these words tell windows where the feature fires from 2,000 random windows? A feature is readable when they do
with AUROC of at least 0.85, and no single token makes up half of its firing. The same code measures an SAE that was never trained and the
model's raw neurons.</p></details></section>
<section aria-label="Features explained best"><h2>The features explained best</h2>
<p class="lead">Named by their keywords; below, text that makes them fire. The darker a token, the stronger.</p>
<div class="tabs" id="best-tabs" role="tablist"></div><div class="grid" id="best"></div></section>
<section aria-label="All features"><h2>All features</h2>
<p class="lead">Search words, firing tokens or a number. <kbd>j</kbd> and <kbd>k</kbd> walk through the list, <kbd>Esc</kbd> closes.</p>
<div class="tools"><div class="tabs" id="all-tabs" role="tablist"></div><input type="search" id="search" placeholder="Search features" aria-label="Search features">
<button id="f-readable" aria-pressed="false">readable</button><button id="f-single" aria-pressed="false">single token</button>
<button id="f-alive" aria-pressed="true">alive</button><span class="found" id="found" aria-live="polite"></span></div>
<div class="list"><div class="row names" id="names"></div><div class="view" id="view" tabindex="0" aria-label="Features"></div></div></section>
<section id="training" aria-label="Training"><h2>Training</h2><p class="lead">Measured after every chunk on held-out text that was never trained on; bands are 95 % intervals.</p>
<div class="legend" id="legend"></div><div class="charts" id="charts"></div></section>
<section id="tables" aria-label="Evaluation"></section>
<section id="history" aria-label="Run history"></section>
</main>
<aside id="panel" role="dialog" aria-label="Feature" hidden></aside>
<footer><span id="licence"></span></footer>
)html";
}

std::string_view report_script() {
  return R"js('use strict';
const data = JSON.parse(document.getElementById('report-data').textContent);
const history_tables = JSON.parse(document.getElementById('history-data').textContent);
const $ = id => document.getElementById(id);
const READABLE = 4, SINGLE = 8, ALIVE = 1, SCORED = 2, ROW = 36;

// Elements are made here and nowhere else: text is only ever text.
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === 'class') node.className = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const count = n => Number(n).toLocaleString('en');
const fixed = (value, digits) => value === null || value === undefined ? '–' : value.toFixed(digits);
const percent = value => value === null || value === undefined ? '–' : value >= 0.1 ? (100 * value).toFixed(0) + ' %'
  : value >= 0.001 ? (100 * value).toFixed(1) + ' %' : value > 0 ? (100 * value).toPrecision(1) + ' %' : '0 %';
const probed = data.saes.filter(sae => sae.table);

// Control characters become visible signs, line breaks a soft mark.
const shown = text => text.replace(/\s*\n\s*/g, ' ⏎ ').replace(/[\u0000-\u001f\u007f]/g,
  c => c === '\t' ? ' ' : String.fromCharCode(c === '\u007f' ? 0x2421 : 0x2400 + c.charCodeAt(0)));

function link(document_index) {
  const [title, url] = data.documents[document_index];
  const name = title || 'untitled';
  if (!/^https?:\/\//.test(url)) return el('span', {}, name);
  return el('a', {href: url, target: '_blank', rel: 'noopener noreferrer', onclick: e => e.stopPropagation()}, name);
}
// `reach`: characters kept on either side of the firing token; 0 = all.
function example(item, reach) {
  const node = el('div', {class: 'string'}), text = el('bdi');
  const runs = [];
  for (let i = 0; i < item.r.length; ++i) {
    const strength = typeof item.r[i + 1] === 'number' ? item.r[i + 1] : 0;
    runs.push({text: shown(item.r[i]), strength, center: i === item.c});
    if (strength) ++i;
  }
  const center = runs.findIndex(run => run.center);
  let from = 0, to = runs.length;
  if (reach) {
    let room = reach;
    for (from = center; from > 0 && room > 0; room -= runs[from].text.length) {
      const run = runs[--from];
      if (run.strength || run.text.length <= room) continue;
      run.text = run.text.slice(-room).replace(/^\S*/, '');
      break;
    }
    room = reach;
    for (to = center + 1; to < runs.length && room > 0;) {
      const run = runs[to++];
      room -= run.text.length;
      if (run.strength || room >= 0) continue;
      run.text = run.text.slice(0, room).replace(/\S*$/, '');
      break;
    }
  }
  text.append('… ');
  for (const run of runs.slice(from, to)) {
    if (!run.strength) {
      text.append(run.text);
      continue;
    }
    const word = run.text.trimStart() || run.text;  // the space before a word is not painted
    const span = el('span', {class: run.center ? 't c' : 't'}, word);
    span.style.backgroundColor = 'rgba(var(--fire),' + (0.12 + 0.58 * run.strength / 255).toFixed(2) + ')';
    span.title = Math.round(run.strength / 2.55) + ' % of the feature’s maximum';
    text.append(run.text.slice(0, run.text.length - word.length), span);
  }
  text.append(' …');
  node.append(text, el('span', {class: 'from'}, link(item.d)));
  return node;
}
const words = (sae, f) => sae.table.keywords[f] ? sae.table.keywords[f].split(' ') : [];
const label = (sae, f, n) => words(sae, f).slice(0, n).join(' · ') ||
  (sae.table.token[f] ? 'token “' + shown(sae.table.token[f]).trim() + '”' : 'no keywords');
function pill(sae, f) {
  const flags = sae.table.flags[f];
  if (flags & SINGLE) return el('span', {class: 'pill single', title: 'One token makes up at least half of its firing'},
    'single token “' + shown(sae.table.token[f]).trim() + '”');
  if (flags & READABLE) return el('span', {class: 'pill ok'}, 'readable');
  if (!(flags & ALIVE)) return el('span', {class: 'pill none'}, 'never fires');
  return el('span', {class: 'pill none'}, flags & SCORED ? 'not readable' : 'too rare to score');
}
const open_feature = (sae, f) => { location.hash = encodeURIComponent(sae.name) + '/' + f; };

// --- Opening: how many, and the best --------------------------------------------------------------------------
function facts(pairs) { return pairs.map(([key, value]) => el('div', {}, el('dt', {}, key), el('dd', {}, value))); }
const notes = sae => (sae.notes || []).map(text => el('div', {class: 'note'}, text));
function opening() {
  document.title = data.title ? data.title + ' – refract' : 'refract report';
  $('title').textContent = data.title || 'refract report';
  const total = probed.reduce((sum, sae) => sum + sae.count.readable, 0);
  const of = probed.reduce((sum, sae) => sum + sae.count.features, 0);
  $('summary').textContent = probed.length ? count(total) + ' of ' + count(of) + ' features can be read: words found on the training text predict where they fire in text never trained on.'
    : 'No features of this run were probed yet.';
  $('facts').append(...facts(data.header));
  $('licence').textContent = data.licence;
  for (const sae of data.saes.filter(sae => !sae.table)) $('hero').append(el('div', {class: 'card'},
    el('div', {}, el('span', {class: 'who'}, sae.name), ' ', el('span', {class: 'of'}, sae.hook)), notes(sae),
    el('dl', {class: 'facts'}, facts(sae.facts))));
  for (const id of ['best', 'view']) $(id).closest('section').hidden = !probed.length;
  for (const sae of probed) {
    const rows = [sae.count, ...sae.controls], most = Math.max(1, ...rows.map(row => row.readable));
    const bars = el('div', {class: 'bars'});
    rows.forEach((row, i) => {
      const fill = el('i');
      fill.style.width = (100 * row.readable / most).toFixed(1) + '%';
      bars.append(el('span', {}, i ? row.name : 'this SAE'), el('span', {class: i ? 'bar' : 'bar own'}, fill),
        el('span', {class: 'n'}, count(row.readable)));
    });
    $('hero').append(el('div', {class: 'card'}, el('div', {}, el('span', {class: 'who'}, sae.name), ' ',
      el('span', {class: 'of'}, sae.hook)), el('div', {class: 'big'}, count(sae.count.readable)),
      el('div', {class: 'of'}, 'readable features of ' + count(sae.count.features)), bars,
      el('dl', {class: 'facts'}, facts(sae.facts)), notes(sae)));
  }
  $('counts').hidden = !probed.length;
  const head = ['', 'features', 'alive', 'scored', 'keywords predict', 'single token', 'readable'];
  const body = el('tbody');
  for (const sae of probed) [sae.count, ...sae.controls].forEach((row, i) => body.append(el('tr', {},
    el('td', {}, i ? el('span', {class: 'dim'}, '   ' + row.name) : el('b', {}, sae.name)),
    [row.features, row.alive, row.scored, row.predictable, row.single].map(n => el('td', {}, count(n))),
    el('td', {class: i ? '' : 'strong'}, count(row.readable)))));
  $('counts').append(el('table', {class: 'plain'}, el('thead', {}, el('tr', {}, head.map(text => el('th', {}, text)))), body));
}
function tabs(parent, choose) {
  const buttons = probed.map((sae, i) => el('button', {role: 'tab', 'aria-selected': i === 0, onclick: () => select(i)}, sae.name));
  function select(i) {
    buttons.forEach((button, j) => button.setAttribute('aria-selected', i === j));
    choose(probed[i]);
  }
  parent.append(...buttons);
  parent.hidden = probed.length < 2;
  return select;
}
function best(sae) {
  const order = [...sae.table.flags.keys()].filter(f => sae.table.flags[f] & READABLE)
    .sort((a, b) => sae.table.auroc[b] - sae.table.auroc[a] || a - b).slice(0, 30);
  $('best').replaceChildren(...order.map(f => el('div', {class: 'card feature', tabindex: 0, role: 'button',
    onclick: () => open_feature(sae, f), onkeydown: e => { if (e.key === 'Enter') open_feature(sae, f); }},
    el('div', {class: 'head'}, el('span', {class: 'label'}, label(sae, f, 4)),
      el('span', {class: 'id', title: 'Feature number; AUROC on held-out documents'},
        '#' + f + ' · ' + fixed(sae.table.auroc[f], 2))),
    el('div', {class: 'more'}, words(sae, f).slice(4, 10).join(', ')),
    (sae.examples[f] || []).slice(0, 3).map(item => example(item, 70)))));
  if (!order.length) $('best').append(el('p', {class: 'note'}, 'None of this dictionary’s features meets the measure.'));
}

// --- All features ---------------------------------------------------------------------------------------------
const list = {sae: null, order: [], sort: 'flags', down: true, now: -1};
const columns = [['f', '#', ''], ['keywords', 'keywords', ''], ['auroc', 'AUROC', 'r'], ['density', 'density', 'r'],
  ['max', 'maximum', 'r'], ['flags', '', '']];
// Readable, scored, single-token, unscored.
const verdict = flags => flags & READABLE ? 3 : !(flags & SCORED) ? 0 : flags & SINGLE ? 1 : 2;
const value_of = (key, f) => key === 'f' ? f : key === 'flags' ? verdict(list.sae.table.flags[f]) : list.sae.table[key][f];
function refresh() {
  if (!list.sae) return;
  const {table} = list.sae, query = $('search').value.trim().toLowerCase();
  const pressed = id => $(id).getAttribute('aria-pressed') === 'true';
  const [readable, single, alive] = ['f-readable', 'f-single', 'f-alive'].map(pressed);
  list.order = [...table.flags.keys()].filter(f => {
    const flags = table.flags[f];
    if ((readable && !(flags & READABLE)) || (single && !(flags & SINGLE)) || (alive && !(flags & ALIVE))) return false;
    return !query || String(f) === query || table.keywords[f].includes(query) || table.token[f].toLowerCase().includes(query);
  });
  const sign = list.down ? -1 : 1;
  list.order.sort((a, b) => {
    const x = value_of(list.sort, a), y = value_of(list.sort, b);
    const missing = v => v === null || v === '';
    if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b;
    return x < y ? -sign : x > y ? sign : (table.auroc[b] ?? -1) - (table.auroc[a] ?? -1) || a - b;
  });
  $('found').textContent = count(list.order.length) + ' of ' + count(table.flags.length);
  for (const button of $('names').children) {
    if (button.dataset.key === list.sort) button.setAttribute('aria-sort', list.down ? 'descending' : 'ascending');
    else button.removeAttribute('aria-sort');
  }
  $('view').scrollTop = 0;
  draw();
}
function draw() {
  const view = $('view'), {table} = list.sae;
  const first = Math.max(0, Math.floor(view.scrollTop / ROW) - 6), last = Math.min(list.order.length, first + Math.ceil(view.clientHeight / ROW) + 14);
  const rows = [];
  const space = el('div');
  space.style.height = list.order.length * ROW + 'px';
  for (let i = first; i < last; ++i) {
    const f = list.order[i];
    const row = el('div', {class: f === list.now ? 'row now' : 'row', onclick: () => open_feature(list.sae, f)},
      el('span', {class: 'dim'}, String(f)), el('span', {}, words(list.sae, f).join(' ') || el('span', {class: 'dim'}, label(list.sae, f, 1))),
      el('span', {class: 'r'}, fixed(table.auroc[f], 2)), el('span', {class: 'r'}, percent(table.density[f])),
      el('span', {class: 'r'}, table.max[f] ? table.max[f].toPrecision(3) : '–'), el('span', {}, pill(list.sae, f)));
    row.style.top = i * ROW + 'px';
    rows.push(row);
  }
  view.replaceChildren(space, ...rows);
}
function all_features() {
  $('names').append(...columns.map(([key, name, align]) => el('button', {class: align, 'data-key': key, onclick: () => {
    list.down = list.sort === key ? !list.down : key !== 'f' && key !== 'keywords';
    list.sort = key;
    refresh();
  }}, name || 'verdict')));
  $('search').addEventListener('input', refresh);
  for (const id of ['f-readable', 'f-single', 'f-alive']) $(id).addEventListener('click', () => {
    $(id).setAttribute('aria-pressed', $(id).getAttribute('aria-pressed') !== 'true');
    refresh();
  });
  $('view').addEventListener('scroll', () => requestAnimationFrame(draw));
}

// --- One feature ----------------------------------------------------------------------------------------------
function panel(sae, f) {
  const {table} = sae, examples = sae.examples[f] || [], flags = table.flags[f];
  const measured = flags & SCORED ? 'AUROC ' + fixed(table.auroc[f], 3) + ' on ' + table.windows[f] + ' held-out windows of ' +
    table.documents[f] + ' documents' : flags & ALIVE ? 'Fires in ' + table.documents[f] + ' held-out documents: too few to score' : 'Never fires on the rows read';
  const near = el('div', {class: 'near'});
  for (let i = 0; i < table.near[f].length; i += 2) {
    const g = table.near[f][i];
    near.append(el('a', {href: '#' + encodeURIComponent(sae.name) + '/' + g}, String(g)),
      el('span', {class: 'dim'}, (table.near[f][i + 1] / 100).toFixed(2)), el('span', {}, label(sae, g, 5)));
  }
  $('panel').replaceChildren(
    el('div', {class: 'bar-top'}, el('span', {class: 'id'}, sae.name + ' · feature ' + f),
      el('button', {onclick: () => step(-1), 'aria-label': 'Previous feature'}, '↑ k'), el('button', {onclick: () => step(1), 'aria-label': 'Next feature'}, '↓ j'),
      el('button', {onclick: close_panel, 'aria-label': 'Close'}, '✕')),
    el('p', {class: 'title'}, label(sae, f, 4)), el('div', {}, pill(sae, f)),
    el('dl', {class: 'facts'}, facts([['measured', measured], ['fires on', percent(table.density[f]) + ' of tokens'],
      ['maximum', table.max[f] ? table.max[f].toPrecision(4) : '–'],
      ['most frequent token', table.token[f] ? '“' + shown(table.token[f]).trim() + '” ' + percent(table.share[f]) : '–']])),
    el('h3', {}, 'Keywords'), el('div', {class: 'chips'}, words(sae, f).length ? words(sae, f).map(word => el('span', {}, word)) : el('span', {class: 'dim'}, 'none')),
    el('h3', {}, 'Strongest strings'),
    el('div', {class: 'strings'}, examples.length ? examples.map(item => example(item, 0)) : el('p', {class: 'note'},
      flags & ALIVE ? 'Kept out of this page for its size. In a terminal: refract probe --feature ' + f : 'None.')),
    el('h3', {}, 'Nearest features (decoder cosine)'), near);
  $('panel').hidden = false;
  $('panel').scrollTop = 0;
}
function close_panel() { history.pushState(null, '', location.pathname + location.search); $('panel').hidden = true; list.now = -1; draw(); }
function step(by) {
  if (!list.order.length) return;
  const at = list.order.indexOf(list.now);
  const next = at < 0 ? (by > 0 ? 0 : list.order.length - 1) : Math.min(list.order.length - 1, Math.max(0, at + by));
  open_feature(list.sae, list.order[next]);
}
let choose_all = () => {};
function follow_hash() {
  const match = /^#(.+)\/(\d+)$/.exec(location.hash);
  let name = '';
  try { name = match ? decodeURIComponent(match[1]) : ''; } catch (error) { name = ''; }
  const sae = match && probed.find(s => s.name === name), f = match ? Number(match[2]) : 0;
  if (!sae || f >= sae.table.flags.length) { $('panel').hidden = true; return; }
  if (list.sae !== sae) choose_all(probed.indexOf(sae));
  list.now = f;
  const at = list.order.indexOf(f), view = $('view');
  if (at >= 0 && (at * ROW < view.scrollTop || (at + 1) * ROW > view.scrollTop + view.clientHeight)) view.scrollTop = Math.max(0, at * ROW - 200);
  draw();
  panel(sae, f);
}

// --- Curves ---------------------------------------------------------------------------------------------------
const NS = 'http://www.w3.org/2000/svg';
function svg(tag, attributes, text) {
  const node = document.createElementNS(NS, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function ticks(low, high) {
  const raw = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const unit = [1, 2, 5, 10].map(m => m * power).find(m => m >= raw);
  const marks = [];
  for (let v = Math.ceil(low / unit - 1e-9) * unit; v <= high + unit * 1e-6; v += unit) marks.push(Number(v.toPrecision(10)));
  return marks;
}
const short = v => Math.abs(v) >= 1e6 ? +(v / 1e6).toPrecision(3) + ' M' : Math.abs(v) >= 1e4 ? +(v / 1e3).toPrecision(3) + ' k' : String(+v.toPrecision(3));
function chart(key, name, sub) {
  const series = data.saes.map((sae, i) => ({name: sae.name, color: 'var(--s' + i % 6 + ')', points: sae.metrics.filter(p => typeof p[key] === 'number')
    .map(p => ({x: p.tokens ?? p.visit ?? 0, y: p[key], low: p[key + '_lo'] ?? p[key], high: p[key + '_hi'] ?? p[key]}))})).filter(s => s.points.length);
  if (!series.length) return null;
  const all = series.flatMap(s => s.points), W = 340, H = 200, L = 46, R = 10, T = 10, B = 26;
  const x1 = (Math.max(...all.map(p => p.x)) || 1) * 1.02;
  let y0 = Math.min(...all.map(p => p.low)), y1 = Math.max(...all.map(p => p.high));
  if (y1 - y0 < 1e-12 * Math.max(1, Math.abs(y1))) { y0 -= Math.abs(y0) * 0.1 || 0.5; y1 += Math.abs(y1) * 0.1 || 0.5; }
  const pad = (y1 - y0) * 0.08;
  if (y0 >= 0 && y0 < (y1 - y0) * 0.6) y0 = 0; else y0 -= pad;
  y1 += pad;
  const X = x => L + (W - L - R) * x / x1, Y = y => H - B - (H - T - B) * (y - y0) / (y1 - y0);
  const root = svg('svg', {viewBox: '0 0 ' + W + ' ' + H, role: 'img', 'aria-label': name});
  for (const y of ticks(y0, y1)) root.append(svg('line', {x1: L, x2: W - R, y1: Y(y), y2: Y(y), class: 'axis'}),
    svg('text', {x: L - 7, y: Y(y) + 4, 'text-anchor': 'end'}, short(y)));
  for (const x of ticks(0, x1)) if (X(x) < W - R - 52) root.append(svg('text', {x: X(x), y: H - 8, 'text-anchor': 'middle'}, short(x)));
  root.append(svg('text', {x: W - R, y: H - 8, 'text-anchor': 'end'}, x1 > 1000 ? 'tokens' : 'visit'));
  for (const s of series) {
    const line = s.points.map(p => X(p.x).toFixed(1) + ',' + Y(p.y).toFixed(1));
    const band = [...s.points.map(p => X(p.x).toFixed(1) + ',' + Y(p.high).toFixed(1)), ...s.points.slice().reverse().map(p => X(p.x).toFixed(1) + ',' + Y(p.low).toFixed(1))];
    root.append(svg('polygon', {points: band.join(' '), class: 'band'}), svg('polyline', {points: line.join(' '), class: 'curve'}));
    root.lastChild.style.stroke = s.color;
    root.lastChild.previousSibling.style.fill = s.color;
    for (const p of s.points) {
      const dot = svg('circle', {cx: X(p.x).toFixed(1), cy: Y(p.y).toFixed(1), r: 2.6});
      dot.style.fill = s.color;
      dot.append(svg('title', {}, s.name + ': ' + (+p.y.toPrecision(4)) + ' at ' + short(p.x) + ' tokens'));
      root.append(dot);
    }
  }
  return el('div', {class: 'card'}, el('h3', {}, name), el('div', {class: 'sub'}, sub), root);
}
function curves() {
  const charts = [['mse', 'Reconstruction error (MSE)', 'held out; lower is better'], ['r2', 'R², variance explained', 'held out; higher is better'],
    ['l0', 'L0', 'active features per token'], ['density', 'Density', 'share of features active on a token'],
    ['dead_rate', 'Dead features', 'share of the dictionary']].map(c => chart(...c)).filter(Boolean);
  $('training').hidden = !charts.length;
  $('charts').append(...charts);
  data.saes.forEach((sae, i) => {
    const mark = el('i');
    mark.style.background = 'var(--s' + i % 6 + ')';
    $('legend').append(el('span', {}, mark, sae.name));
  });
}
function plain_tables(parent, heading, tables) {
  parent.hidden = !tables.length;
  if (!tables.length) return;
  parent.append(el('h2', {}, heading));
  for (const table of tables) {
    // Columns of words are set as prose, those of numbers as figures.
    const words = table.columns.map((_, c) => c > 0 && table.rows.some(row => /[a-z]{3}/.test(row[c])));
    const verdict = table.columns.indexOf('verdict');
    const cell = (text, c) => el('td', words[c] ? {class: 'words'} : {}, c === verdict && text ? el('span', {class: 'verdict ' + verdict_class(text)}, text) : text);
    const body = el('div', {class: 'card scroll'}, el('table', {class: 'plain'},
      el('thead', {}, el('tr', {}, table.columns.map((c, i) => el('th', words[i] ? {class: 'words'} : {}, c)))),
      el('tbody', {}, table.rows.map(row => el('tr', {}, row.map(cell))))));
    const box = el('details', {class: 'table'}, el('summary', {}, el('b', {}, table.title), el('span', {}, table.note ? ' ' + table.note : '')), body);
    box.open = !table.folded;
    parent.append(box);
  }
}
function verdict_class(text) {
  return text === 'good' ? 'good' : text.startsWith('watch') ? 'watch' : text.startsWith('too') ? 'red' : 'none';
}

opening();
all_features();
if (probed.length) {
  tabs($('best-tabs'), best);
  choose_all = tabs($('all-tabs'), sae => { list.sae = sae; refresh(); });
  best(probed[0]);
  list.sae = probed[0];
  refresh();
}
curves();
plain_tables($('tables'), 'Evaluation', data.tables);
plain_tables($('history'), 'Run history', history_tables);
addEventListener('hashchange', follow_hash);
addEventListener('popstate', follow_hash);
addEventListener('keydown', event => {
  if (event.target.tagName === 'INPUT' || event.ctrlKey || event.metaKey || event.altKey || !list.sae) return;
  if (event.key === 'j') step(1);
  else if (event.key === 'k') step(-1);
  else if (event.key === 'Escape' && !$('panel').hidden) close_panel();
});
if (location.hash) follow_hash();
)js";
}

}  // namespace refract
