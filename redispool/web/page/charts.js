// The charts of the last hour: how many are held, how fast it goes, how long one waits.

import { element, fit, moments } from "./svg.js";
import { clock, duration, figure } from "./text.js";

const HEIGHT = 150;
const EDGE = { left: 44, right: 10, top: 8, bottom: 20 };

const use = {
  unit: (value) => figure(value, value < 10 && value % 1 ? 1 : 0),
  lines: [{ of: (step) => step.held, kind: "held" }],
  limit: (pools) => pools.reduce((sum, pool) => sum + pool.free + pool.held + pool.cooling + pool.to_clean, 0),
  says: (step, pools) => {
    const seats = use.limit(pools);
    return step ? `${figure(step.held)} at ${clock(step.at)}` : `${sum(pools, "held")} of ${seats} now`;
  },
};
const pace = {
  unit: (value) => figure(value, value < 10 && value % 1 ? 1 : 0),
  lines: [{ of: (step) => step.pace, kind: "pace" }],
  says: (step, pools) =>
    step ? `${figure(step.pace)} at ${clock(step.at)}` : `${figure(sum(pools, "pace"))} now`,
};
const wait = {
  unit: duration,
  lines: [
    { of: (step) => step.p95, kind: "p95" },
    { of: (step) => step.p50, kind: "p50" },
  ],
  // the moment since which it is known of all hand-outs how long they were waited for
  since: (steps, time) => Math.max(time.since, ...steps.map((one) => (one.handOuts && one.p50 === null ? one.at + time.step : 0))),
  says: (step, pools) => {
    const most = (name) => Math.max(-1, ...pools.map((pool) => pool.waits[name] ?? -1));
    const [p50, p95] = step ? [step.p50 ?? -1, step.p95 ?? -1] : [most("p50"), most("p95")];
    const when = step ? ` at ${clock(step.at)}` : pools.length > 1 ? " (slowest pool)" : "";
    return p50 < 0 ? (step ? `not known${when}` : "") : `median ${duration(p50)}, 95% within ${duration(p95)}${when}`;
  },
};
const sum = (pools, name) => pools.reduce((total, pool) => total + (pool[name] ?? 0), 0);

export class Charts {
  #charts = [["use", use], ["pace", pace], ["wait", wait]].map(([id, kind]) => new Chart(id, kind));

  draw(pools, now, range, step) {
    const steps = together(pools, now, step);
    const since = pools.length ? Math.max(...pools.map((pool) => pool.history.since)) : now;
    for (const chart of this.#charts) chart.draw(pools, steps, { from: now - range, to: now, since, step });
  }
}

// The steps of several pools as one: sums, and of the waits those of the slowest.
function together(pools, now, length) {
  const found = new Map();
  for (const pool of pools) {
    for (const one of pool.history.steps.values()) {
      const so = found.get(one.at) || { at: one.at, held: null, handOuts: 0, p50: null, p95: null };
      found.set(one.at, {
        at: one.at,
        held: one.held === null ? so.held : (so.held ?? 0) + one.held,
        handOuts: so.handOuts + one.handOuts,
        p50: higher(so.p50, one.p50),
        p95: higher(so.p95, one.p95),
      });
    }
  }
  return [...found.values()]
    .sort((one, other) => one.at - other.at)
    .map((one) => {
      const lasted = Math.min(now - one.at, length);
      return { ...one, pace: lasted < 2 ? null : one.handOuts / lasted }; // too short to tell
    });
}

const higher = (one, other) => (one === null ? other : other === null ? one : Math.max(one, other));

class Chart {
  #kind;
  #svg;
  #output;
  #at = null; // the moment that is pointed at
  #last = null;

  constructor(id, kind) {
    const figure = document.getElementById(id);
    this.#kind = kind;
    this.#svg = figure.querySelector("svg");
    this.#output = figure.querySelector("output");
    this.#svg.addEventListener("pointermove", (event) => this.#point(event));
    this.#svg.addEventListener("pointerleave", () => this.#point(null));
  }

  #point(event) {
    const box = this.#svg.getBoundingClientRect();
    this.#at = event && (event.clientX - box.left - EDGE.left) / Math.max(box.width - EDGE.left - EDGE.right, 1);
    if (this.#last) this.draw(...this.#last);
  }

  draw(pools, all, time) {
    this.#last = [pools, all, time];
    const kind = this.#kind;
    const steps = all.filter((one) => one.at + time.step > time.from && one.at < time.to);
    const width = fit(this.#svg, HEIGHT);
    const limit = kind.limit?.(pools) ?? 0;
    const most = nice(Math.max(limit, ...steps.flatMap((one) => kind.lines.map((line) => line.of(one) ?? 0))));
    const right = width - EDGE.right;
    const x = (at) => {
      const place = EDGE.left + ((at - time.from) / (time.to - time.from)) * (right - EDGE.left);
      return Math.min(Math.max(place, EDGE.left), right);
    };
    const y = (value) => HEIGHT - EDGE.bottom - (value / most) * (HEIGHT - EDGE.top - EDGE.bottom);
    const since = kind.since?.(steps, time) ?? time.since;
    const parts = [...axes(kind, x, y, { ...time, since }, most, width)];
    for (const line of kind.lines) parts.push(element("path", { class: line.kind, d: area(steps, line.of, x, y, time) }));
    if (limit) parts.push(element("path", { class: "limit", d: `M${EDGE.left} ${y(limit)}H${right}` }));
    const pointed = this.#at === null ? null : this.#pointed(steps, time);
    if (pointed) parts.push(element("path", { class: "cursor", d: `M${x(pointed.at + time.step / 2)} ${EDGE.top}V${y(0)}` }));
    this.#svg.replaceChildren(...parts);
    const says = kind.says(pointed, pools);
    this.#output.textContent = says;
    this.#svg.setAttribute("aria-label", `${kind.says(null, pools)}; over ${Math.round((time.to - time.from) / 60)} minutes at most ${kind.unit(peak(steps, kind))}`);
  }

  #pointed(steps, time) {
    const at = time.from + this.#at * (time.to - time.from);
    return steps.find((one) => one.at <= at && at < one.at + time.step);
  }
}

const peak = (steps, kind) => Math.max(0, ...steps.map((one) => kind.lines[0].of(one) ?? 0));

// A round number that is not less, and that reads well when halved.
function nice(most) {
  if (most <= 0) return 1;
  const scale = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 6, 8, 10].map((one) => one * scale).find((one) => one >= most * 1.02) ?? 12 * scale;
}

function* axes(kind, x, y, time, most, width) {
  if (time.since > time.from) {
    const edge = x(time.since);
    yield element("rect", { class: "unknown", x: EDGE.left, y: EDGE.top, width: edge - EDGE.left, height: y(0) - EDGE.top });
    if (edge - EDGE.left > 80) yield element("text", { class: "unknown", x: (EDGE.left + edge) / 2, y: y(most / 2), "text-anchor": "middle" }, "not known");
  }
  for (const value of [0, most / 2, most]) {
    yield element("path", { class: "grid", d: `M${EDGE.left} ${y(value)}H${width - EDGE.right}` });
    yield element("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, value ? kind.unit(value) : "0");
  }
  for (const at of moments(time.from, time.to, Math.max(width / 80, 2))) {
    const place = x(at);
    if (place < width - 24) yield element("text", { x: place, y: HEIGHT - 4, "text-anchor": "middle" }, clock(at, false));
  }
}

function area(steps, of, x, y, time) {
  let path = "";
  for (const step of steps) {
    const value = of(step);
    if (value === null || value === undefined || !value) continue;
    const [start, end] = [x(step.at), x(Math.min(step.at + time.step, time.to))];
    path += `M${start.toFixed(1)} ${y(0)}V${y(value).toFixed(1)}H${(end + 0.3).toFixed(1)}V${y(0)}Z`;
  }
  return path;
}
