// Who had which account, and when.

import { element, fit, moments } from "./svg.js";
import { clock, compare, duration, plain } from "./text.js";

const ROW = 22;
const HEAD = 20; // the name of a pool above its accounts
const MOST_ROWS = 40;
const LEAST = 3; // pixels; what is narrower is shown together with its neighbours
const COLOURS = 8;
export const SUDDEN = ["expired", "lost", "revoked", "gone"]; // ends that its holder did not choose
const LETTER = 6.3; // pixels, about

export class Timeline {
  #figure = document.getElementById("timeline");
  #svg = this.#figure.querySelector("svg");
  #output = this.#figure.querySelector("output");

  draw(pools, now, range, filter) {
    const from = now - range;
    const { rows, left } = rowsOf(pools, from, filter);
    const edge = this.#figure.clientWidth < 500 ? 84 : 130;
    const since = Math.max(0, ...pools.map((pool) => pool.history.holdingsSince ?? 0));
    const heads = pools.length > 1 ? new Set(rows.map((row) => row.pool)).size : 0;
    const height = rows.length * ROW + heads * HEAD + 24;
    const width = fit(this.#svg, height);
    const x = (at) => edge + ((Math.min(Math.max(at, from), now) - from) / range) * (width - edge - 10);
    const parts = [...ruler(x, from, now, width, height)];
    if (since > from) parts.unshift(element("rect", { class: "unknown", x: edge, y: 0, width: x(since) - edge, height: height - 20 }));
    let top = 0;
    for (const [place, row] of rows.entries()) {
      if (heads && row.pool !== rows[place - 1]?.pool) {
        parts.push(element("text", { class: "pool", x: 2, y: top + 15 }, plain(row.pool)));
        top += HEAD;
      }
      parts.push(...drawn(row, top, x, now, edge, width));
      top += ROW;
    }
    this.#svg.replaceChildren(...parts);
    const known = since > from ? `known since ${clock(since)}` : "";
    const more = left ? `${left} more accounts: filter to see them` : "";
    this.#output.textContent = [more, known].filter(Boolean).join("; ");
    this.#svg.setAttribute("aria-label", `${rows.length} accounts; the table below tells the same`);
  }
}

// A row for each account that somebody had; those that are held, or were last, where there are too many.
function rowsOf(pools, from, filter) {
  const rows = new Map();
  for (const pool of pools) {
    for (const one of pool.history.holdings.values()) {
      if (one.end !== null && one.end < from) continue;
      if (!`${pool.name} ${one.account} ${one.owner}`.toLowerCase().includes(filter)) continue;
      const key = `${pool.name}\n${one.account}`;
      if (!rows.has(key)) rows.set(key, { pool: pool.name, account: one.account, holdings: [], last: 0 });
      const row = rows.get(key);
      row.holdings.push(one);
      row.last = Math.max(row.last, one.end ?? Infinity);
    }
  }
  const found = [...rows.values()].sort((one, other) => other.last - one.last);
  const left = Math.max(found.length - MOST_ROWS, 0);
  found.length = Math.min(found.length, MOST_ROWS);
  return { rows: found.sort((one, other) => compare(one.pool, other.pool) || compare(one.account, other.account)), left };
}

function* ruler(x, from, now, width, height) {
  for (const at of moments(from, now, Math.max((width - 150) / 80, 2))) {
    yield element("path", { class: "grid", d: `M${x(at)} 0V${height - 20}` });
    if (x(at) < width - 24) yield element("text", { x: x(at), y: height - 6, "text-anchor": "middle" }, clock(at, false));
  }
}

function* drawn(row, top, x, now, edge, width) {
  const name = plain(row.account);
  const label = element("svg", { x: 0, y: top, width: edge - 8, height: ROW }, null);
  label.append(element("text", { class: "account", x: 2, y: 15 }, name), element("title", {}, name));
  yield label;
  yield element("path", { class: "grid", d: `M${edge} ${top + ROW - 0.5}H${width - 10}` });
  const lanes = lanesOf(row.holdings.sort((one, other) => one.start - other.start), now);
  const tall = (ROW - 4) / lanes.length;
  for (const [place, lane] of lanes.entries()) {
    for (const block of blocksOf(lane, x, now)) yield blockDrawn(block, top + 2 + place * tall, tall, now);
  }
}

// An account may be held by several at a time: each holding stands in the first lane that is free.
function lanesOf(holdings, now) {
  const lanes = [];
  for (const one of holdings) {
    const lane = lanes.find((these) => (these.at(-1).end ?? now) <= one.start + 0.002);
    if (lane) lane.push(one);
    else if (lanes.length < 4) lanes.push([one]);
  }
  return lanes;
}

function blocksOf(lane, x, now) {
  const blocks = [];
  for (const one of lane) {
    const block = { start: x(one.start), end: x(one.end ?? now), first: one, last: one, count: 1 };
    const before = blocks.at(-1);
    const narrow = block.end - block.start < LEAST;
    if (before && narrow && block.start - before.end < LEAST && (before.count > 1 || before.end - before.start < LEAST)) {
      Object.assign(before, { end: Math.max(block.end, before.end), last: one, count: before.count + 1 });
    } else {
      blocks.push(block);
    }
  }
  return blocks;
}

function blockDrawn(block, top, tall, now) {
  const { first, last, count } = block;
  const width = Math.max(block.end - block.start - 0.5, 1.5);
  const shape = element("svg", { x: block.start.toFixed(1), y: top, width: width.toFixed(1), height: tall });
  const many = count > 1;
  const lost = !many && SUDDEN.includes(first.how);
  const kind = many ? "many" : `o${colour(first.owner)}${first.end === null ? " open" : ""}`;
  shape.append(element("rect", { class: kind, width: width.toFixed(1), height: tall - 1, rx: Math.min(2, width / 2) }));
  if (lost) shape.append(element("rect", { class: "lost", x: Math.max(width - 3, 0), width: 3, height: tall - 1 }));
  const end = last.end ?? now;
  const who = many ? `${count} hand-outs` : plain(first.owner);
  if (width > who.length * LETTER + 8 && tall > 11) shape.append(element("text", { class: "owner", x: 5, y: tall / 2 + 4 }, who));
  const how = many ? "" : first.end === null ? ", held" : `, ${first.how}`;
  shape.append(element("title", {}, `${who}: ${clock(first.start)} to ${clock(end)} (${duration(end - first.start)})${how}`));
  return shape;
}

export function colour(owner) {
  let hash = 0;
  for (const letter of owner) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return hash % COLOURS;
}
