// The list of recent traces, and one trace as a waterfall: a group of rows per node,
// a row per span. What is shown comes from Jaeger's query API beside this page.
import { arrange, facts, heightOf, window as fit } from "./model.js";
import { when, took } from "./text.js";

const el = (id) => document.getElementById(id);
const colours = ["#2f6fed", "#0e9f6e", "#c2571a", "#8b46d6", "#b3257b", "#4a6572"];

async function ask(path) {
  const answer = await fetch(`api/${path}`);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.errors?.[0]?.msg ?? answer.statusText);
  return body.data ?? [];
}

function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

// fill puts names into a select and chooses one of them.
function fill(select, names, chosen) {
  select.replaceChildren(...names.map((n) => make("option", { textContent: n, selected: n === chosen })));
}

async function listTraces() {
  const services = (await ask("services")).filter((s) => s !== "jaeger").sort();
  if (services.length === 0) {
    el("list").replaceChildren(make("p", { className: "hint", textContent: " no traces yet" }));
    return;
  }
  const service = el("service").value || services[0];
  fill(el("service"), services, service);
  const operations = (await ask(`services/${encodeURIComponent(service)}/operations`)).sort();
  const preferred = operations.includes("sequencer.produce") ? "sequencer.produce" : "";
  const operation = el("operation").dataset.touched ? el("operation").value : preferred;
  fill(el("operation"), ["", ...operations], operation);
  const query = new URLSearchParams({ service, limit: 40, lookback: "1h" });
  if (operation) query.set("operation", operation);
  if (el("height").value) query.set("tags", JSON.stringify({ "block.height": el("height").value.trim() }));
  const traces = (await ask(`traces?${query}`)).map(arrange).sort((a, b) => b.start - a.start);
  el("list").replaceChildren(...traces.map(entry));
  mark();
}

function entry(t) {
  const height = heightOf(t);
  const dots = t.nodes.map((_, i) => make("i", { textContent: "●", style: `color:${colours[i % colours.length]};font-style:normal` }));
  return make("a", { href: `trace/${t.id}`, title: t.id },
    make("span", { textContent: height === undefined ? t.first.name : `block ${height}` }),
    make("span", { className: "dots" }, ...dots),
    make("small", { textContent: when(t.start) }), make("small", { textContent: `${t.spans.length} spans` }));
}

const shownID = () => location.pathname.match(/trace\/([0-9a-f]+)$/)?.[1];

function mark() {
  for (const a of el("list").querySelectorAll("a")) a.classList.toggle("on", a.title === shownID());
}

let zoom = "path";

async function showTrace() {
  mark();
  const id = shownID();
  if (!id) return;
  const [found] = await ask(`traces/${id}`);
  if (found) draw(arrange(found));
}

function draw(t) {
  const [from, to] = fit(t, zoom);
  const height = heightOf(t);
  document.title = `${height === undefined ? t.first.name : `block ${height}`} · tandem`;
  const button = (name, text) => make("button", {
    textContent: text, className: zoom === name ? "on" : "", onclick: () => { zoom = name; draw(t); },
  });
  const rows = [axis(from, to)];
  t.nodes.forEach((node, i) => {
    const colour = `--node:${colours[i % colours.length]}`;
    rows.push(make("div", { className: "row node", style: colour },
      make("div", { className: "name", textContent: node.name }), make("div")));
    for (const s of node.rows) rows.push(row(t, s, colour, from, to));
  });
  el("trace").replaceChildren(
    make("div", { className: "head" },
      make("h2", { textContent: height === undefined ? t.first.name : `Block ${height}` }),
      make("span", { textContent: when(t.start) }), make("code", { textContent: t.id }),
      make("span", { className: "zoom" }, "show ", button("path", "until applied by gossip"), button("all", "until final"))),
    make("div", { className: "facts" }, ...facts(t).map((f, i) => make("div",
      { className: "fact", style: `--node:${colours[i % colours.length]}` }, make("b", { textContent: f.node }), make("span", { textContent: f.text })))),
    make("div", { className: "fall" }, ...rows));
  const chosen = el("trace").querySelector(`[data-span="${CSS.escape(location.hash.slice(1))}"]`);
  if (chosen) { chosen.click(); chosen.scrollIntoView({ block: "center" }); }
}

function axis(from, to) {
  const track = make("div", { style: "position:relative" });
  for (let i = 0; i < 5; i++) {
    track.append(make("span", { className: "tick", style: `left:${i * 20}%`, textContent: i ? `+${took((to - from) * i / 5)}` : "0" }));
  }
  return make("div", { className: "row axis" }, make("div", { className: "name", textContent: "time since the block was begun" }), track);
}

function row(t, s, colour, from, to) {
  const scale = (at) => 100 * (at - from) / (to - from);
  const left = scale(s.start), right = scale(s.start + s.duration);
  const track = make("div", { className: "track" });
  const label = took(s.duration);
  if (left > 100) {
    track.append(make("span", { className: "edge", style: "right:6px", textContent: `+${took(s.start - t.start)} ▸` }));
  } else {
    const kind = (s.failed ? " bad" : "") + (s.children.length ? " work" : "");
    track.append(make("div", { className: `bar${kind}`, style: `left:${left}%;width:${Math.min(right, 100) - left}%` }));
    const place = right < 88 ? `left:calc(${Math.max(right, left)}% + 6px)` : `right:${100 - left}%;padding-right:6px`;
    track.append(make("span", { className: "time", style: place, textContent: label }));
  }
  const name = make("div", { className: "name", style: `padding-left:${10 + 16 * s.depth}px`, title: s.name }, s.name);
  if (s.note) name.append(make("small", { textContent: s.note }));
  if (s.links.length) name.append(make("small", { textContent: `⇄ ${s.links.length}`, title: "links to other work" }));
  if (s.failed) name.append(make("small", { className: "bad", textContent: "failed" }));
  const line = make("div", { className: "row", style: colour }, name, track);
  line.dataset.span = s.id;
  line.onclick = () => {
    const open = line.nextSibling?.classList?.contains("more");
    if (open) line.nextSibling.remove(); else line.after(details(t, s));
    line.classList.toggle("on", !open);
  };
  return line;
}

function details(t, s) {
  const table = (pairs) => make("table", {}, ...pairs.map(([k, v]) => make("tr", {}, make("td", { textContent: k }), make("td", {}, v))));
  const links = s.links.map((l) => {
    const there = t.byID.get(l.span);
    return ["leads to", make("a", { href: `trace/${l.trace}#${l.span}`, textContent: there ? `${there.name} on ${there.node}` : `${l.trace.slice(0, 8)}… span ${l.span}` })];
  });
  return make("div", { className: "more" },
    make("div", {}, make("h3", { textContent: "attributes" }), table(s.tags)),
    make("div", {}, make("h3", { textContent: "span" }), table([
      ["id", s.id], ["parent", s.parent || "none: the root"], ["starts", `+${took(s.start - t.start)}`], ["takes", took(s.duration)], ...links])));
}

function fail(err) {
  el("trace").replaceChildren(make("p", { className: "error", textContent: `The trace API does not answer: ${err.message}` }));
}

document.addEventListener("click", (e) => {
  const a = e.target.closest("a[href^='trace/'], h1 a");
  if (!a || e.metaKey || e.ctrlKey) return;
  e.preventDefault();
  history.pushState(null, "", a.href);
  showTrace().catch(fail);
});
window.addEventListener("popstate", () => showTrace().catch(fail));
el("find").addEventListener("submit", (e) => { e.preventDefault(); listTraces().catch(fail); });
el("service").addEventListener("change", () => listTraces().catch(fail));
el("operation").addEventListener("change", () => { el("operation").dataset.touched = 1; listTraces().catch(fail); });

await Promise.all([listTraces(), showTrace()]).catch(fail);
document.body.dataset.ready = "yes";
setInterval(() => { if (!document.hidden) listTraces().catch(() => {}); }, 5000);
