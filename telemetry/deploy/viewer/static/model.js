// What Jaeger's query API answers, sorted for showing. Times are microseconds.
import { took } from "./text.js";

// arrange returns {id, start, end, first, spans, byID, nodes}. A node has a name and
// its spans as rows, parents before children, in the order in which they began.
export function arrange(raw) {
  const spans = raw.spans.map((s) => read(s, raw.processes[s.processID]));
  const byID = new Map(spans.map((s) => [s.id, s]));
  spans.sort((a, b) => a.start - b.start || b.duration - a.duration);
  const start = Math.min(...spans.map((s) => s.start));
  const end = Math.max(...spans.map((s) => s.start + s.duration));
  for (const s of spans) {
    const up = byID.get(s.parent);
    if (up && up.node === s.node) up.children.push(s);
  }
  const nodes = [...new Set(spans.map((s) => s.node))].map((name) => {
    const rows = [];
    const walk = (s, depth) => {
      s.depth = depth;
      rows.push(s);
      s.children.forEach((c) => walk(c, depth + 1));
    };
    spans.filter((s) => s.node === name && byID.get(s.parent)?.node !== name).forEach((s) => walk(s, 0));
    return { name, rows };
  });
  return { id: raw.traceID, start, end, spans, byID, nodes, first: spans[0] };
}

function read(s, process) {
  const tags = s.tags.map((t) => [t.key, String(t.value)]).filter(([k]) => !k.startsWith("otel.scope"));
  const tag = Object.fromEntries(tags);
  const parent = s.references.find((r) => r.refType === "CHILD_OF" && r.traceID === s.traceID)?.spanID ?? "";
  return {
    id: s.spanID, name: s.operationName, parent, start: s.startTime, duration: s.duration, tags, tag, children: [], depth: 0,
    node: process.tags.find((t) => t.key === "service.instance.id")?.value ?? process.serviceName,
    links: s.references.filter((r) => r.spanID !== parent).map((r) => ({ trace: r.traceID, span: r.spanID })),
    failed: tag.error === "true" || tag["otel.status_code"] === "ERROR",
    note: note(tag),
  };
}

// note is what tells spans of one name apart.
function note(tag) {
  const parts = [tag["block.kind"], tag["gossip.verdict"]];
  if (tag["da.height"]) parts.push(`DA ${tag["da.height"]}`);
  if (tag["tx.count"] && tag["tx.count"] !== "0") parts.push(`${tag["tx.count"]} tx`);
  if (tag["event.queue_wait_ms"] && tag["event.queue_wait_ms"] !== "0") parts.push(`waited ${tag["event.queue_wait_ms"]} ms`);
  return parts.filter(Boolean).join(", ");
}

export function heightOf(t) {
  return t.spans.find((s) => s.tag["block.height"] && !s.tag["block.from_height"])?.tag["block.height"];
}

const applied = (spans) => spans.find((s) => s.name === "pipeline.commit");

// byGossip reports whether a node made the block or heard it from a peer, as opposed
// to reading it from DA, which is later by DA's block time.
const byGossip = (n) => n.rows.some((s) => s.name === "sequencer.produce" || s.name === "exchange.gossip");

// window returns the part of a trace to show: until the block was applied on every
// node that had it by gossip, or all of it.
export function window(t, zoom) {
  const ends = t.nodes.filter(byGossip).map((n) => applied(n.rows)).filter(Boolean).map((s) => s.start + s.duration);
  const end = zoom === "path" && ends.length ? Math.max(...ends) : t.end;
  return [t.start, end + Math.max(1, (end - t.start) * 0.04)];
}

// facts says per node when it had the block applied, and when it was final.
export function facts(t) {
  return t.nodes.map((n) => {
    const parts = [];
    const commit = applied(n.rows), final = n.rows.find((s) => s.name === "block.final");
    if (commit) parts.push(`applied +${took(commit.start + commit.duration - t.start)}`);
    if (final) parts.push(`final +${took(final.start + final.duration - t.start)}`);
    return { node: n.name, text: parts.join(" · ") || `${n.rows.length} spans` };
  });
}
