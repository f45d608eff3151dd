// The page: listens to what is new, and shows it.

import { Actions } from "./actions.js";
import { Charts } from "./charts.js";
import { Model, STATE } from "./model.js";
import { Table, endedColumns, leaseColumns, outColumns, poolColumns, waiterColumns } from "./tables.js";
import { clock, plain } from "./text.js";
import { Timeline } from "./timeline.js";

const MOST_ENDED = 50;
const at = (id) => document.getElementById(id);
const model = new Model();
let actions = null;

const unlocked = () => Boolean(model.facts.admin && actions?.token);
const buttons = {
  lease: () =>
    unlocked()
      ? [
          { name: () => "Release", label: (one) => `Release account ${one.account}`, act: (one) => actions.release(one) },
          { name: () => "Quarantine", label: (one) => `Quarantine account ${one.account}`, act: (one) => actions.quarantine(one) },
        ]
      : [],
  out: () => (unlocked() ? [{ name: () => "Restore", label: (one) => `Restore account ${one.account}`, act: (one) => actions.restore(one) }] : []),
};
const charts = new Charts();
const timeline = new Timeline();
const tables = {
  pools: new Table("pools", poolColumns(choose), { empty: "There is no pool." }),
  leases: new Table("leases", leaseColumns(model, buttons.lease), { empty: "Nothing is held.", sort: { name: "For", down: true }, sorted: draw }),
  waiters: new Table("waiters", waiterColumns(model), { empty: "Nobody waits." }),
  out: new Table("out", outColumns(model, buttons.out), { empty: "No account is quarantined." }),
  ended: new Table("ended", endedColumns, { empty: "Nothing was handed out." }),
};
actions = new Actions(draw, say);

function choose(name) {
  at("pool").value = at("pool").value === name ? "" : name;
  draw();
}

function say(text, failed) {
  const line = at("message");
  line.textContent = plain(text);
  line.classList.toggle("failed", failed);
  line.hidden = false;
}

// -- what is shown ----------------------------------------------------------------------------------------------

function draw() {
  const pools = model.chosen(at("pool").value);
  drawHead();
  tables.pools.show([...model.pools.values()].map((pool) => ({ key: pool.name, ...pool })));
  drawRows(pools);
  const range = Number(document.querySelector("input[name=range]:checked").value);
  charts.draw(pools, model.now, range, model.facts.step);
  timeline.draw(pools, model.now, range, wanted());
}

const wanted = () => at("filter").value.trim().toLowerCase();

function drawHead() {
  const state = at("state");
  if (state.textContent !== model.state) state.textContent = model.state;
  state.dataset.live = String(model.state === STATE.live);
  at("namespace").textContent = plain(model.facts.namespace);
  at("clock").textContent = model.pools.size ? `${model.state === STATE.live ? "" : "as of "}${clock(model.now)}` : "";
  const trouble = model.state === STATE.lost ? "The page's server (redispool web) does not answer; trying again." : model.trouble;
  if (at("trouble").textContent !== plain(trouble)) at("trouble").textContent = plain(trouble);
  at("trouble").hidden = !trouble;
  at("unlock").hidden = !model.facts.admin;
  at("unlock").textContent = actions?.token ? "Lock actions" : "Unlock actions";
  const [held, waiting] = ["held", "waiting"].map((name) => [...model.pools.values()].reduce((sum, pool) => sum + pool[name], 0));
  document.title = model.state === STATE.live ? `redispool: ${held} held, ${waiting} waiting` : `redispool: ${model.state}`;
  drawChoice();
}

function drawChoice() {
  const select = at("pool");
  const names = ["", ...model.pools.keys()];
  if (names.length === select.options.length && names.every((name, place) => select.options[place].value === name)) return;
  const before = select.value;
  select.replaceChildren(...names.map((name) => new Option(name ? plain(name) : "all", name)));
  select.value = names.includes(before) ? before : "";
}

function drawRows(pools) {
  const fits = (row) => `${row.pool} ${row.account ?? row.wants ?? ""} ${row.owner ?? ""}`.toLowerCase().includes(wanted());
  const each = (list) => pools.flatMap((pool) => pool[list].map((row, place) => [pool.name, place, ...row]));
  const leases = each("leases").map(([pool, , fence, account, owner, acquired, expires, purpose, note]) => ({ key: `${pool}\n${account}\n${fence}`, pool, account, owner, acquired, expires, purpose, note }));
  const waiters = each("waiters").map(([pool, place, owner, since, wants, count, estimate]) => ({ key: `${pool}\n${place}`, pool, place: place + 1, owner, since, wants, count, estimate }));
  const out = each("out").map(([pool, , account, since, by, reason]) => ({ key: `${pool}\n${account}`, pool, account, since, by, reason }));
  const counts = { leases: "held", waiters: "waiting", out: "quarantined" };
  for (const [id, rows] of Object.entries({ leases, waiters, out })) {
    const shown = rows.filter(fits);
    const all = pools.reduce((sum, pool) => sum + pool[counts[id]], 0);
    tables[id].show(shown);
    document.querySelector(`#${id}-title .count`).textContent = shown.length < all ? `${shown.length} of ${all}` : all || "";
  }
  if (document.querySelector("#timeline details").open) tables.ended.show(endedRows(pools).filter(fits).slice(0, MOST_ENDED));
}

function endedRows(pools) {
  const rows = pools.flatMap((pool) => [...pool.history.holdings.values()].map((one) => ({ key: `${pool.name}\n${one.fence}`, pool: pool.name, ...one })));
  return rows.sort((one, other) => other.start - one.start);
}

// -- what is new ------------------------------------------------------------------------------------------------

let asked = false;

function drawSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

let source = null;

// A browser has six connections for a host: a tab that nobody sees must not keep one.
function listen() {
  if (source !== null || document.hidden) return;
  source = new EventSource("/events");
  const hear = (take) => (event) => {
    take(JSON.parse(event.data));
    drawSoon();
  };
  source.addEventListener("whole", hear((message) => model.whole(message)));
  source.addEventListener("news", hear((message) => model.news(message)));
  source.addEventListener("error", () => {
    model.lost();
    drawSoon();
    if (source?.readyState !== EventSource.CLOSED) return; // it tries again by itself
    hangUp();
    setTimeout(listen, 2000);
  });
}

function hangUp() {
  source?.close();
  source = null;
}

at("controls").addEventListener("submit", (event) => event.preventDefault());
for (const kind of ["input", "change"]) at("controls").addEventListener(kind, drawSoon);
document.querySelector("#timeline details").addEventListener("toggle", drawSoon);
new ResizeObserver(drawSoon).observe(at("main"));
setInterval(() => document.hidden || drawSoon(), 1000);
document.addEventListener("visibilitychange", () => (document.hidden ? hangUp() : listen()));
listen();
