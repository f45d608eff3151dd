// What the page knows: the pools as they were told last, and the last hour of each.

export const STATE = { live: "live", away: "server away", lost: "page server away", connecting: "connecting" };

const MOST_HOLDINGS = 6000; // of a pool

export class Model {
  pools = new Map();
  facts = { namespace: "", admin: false, span: 3600, step: 10 };
  state = STATE.connecting;
  trouble = "";
  #heardAt = 0; // by the browser's clock
  #at = 0; // by the server's

  // All anew: the page was opened, or the connection was made again.
  whole(message) {
    this.facts = { ...this.facts, ...message };
    this.pools = new Map();
    this.news(message);
  }

  news(message) {
    const before = this.pools;
    this.pools = new Map();
    let at = 0;
    for (const told of message.pools) {
      at = Math.max(at, told.at);
      const history = historyOf(told, before.get(told.name), this.facts.span);
      this.pools.set(told.name, { ...told, history, pace: paceOf(history, told.at, this.facts.step) });
    }
    this.trouble = message.trouble || "";
    this.state = message.trouble ? STATE.away : STATE.live;
    if (at > this.#at || !this.trouble) {
      this.#at = at || Date.now() / 1000;
      this.#heardAt = performance.now();
    }
  }

  lost() {
    this.state = STATE.lost;
  }

  // The server's clock; it stands still while there is no news.
  get now() {
    if (!this.#at) return Date.now() / 1000;
    return this.#at + (this.state === STATE.live ? Math.min((performance.now() - this.#heardAt) / 1000, 60) : 0);
  }

  chosen(name) {
    return [...this.pools.values()].filter((pool) => !name || pool.name === name);
  }
}

function historyOf(told, before, span) {
  const fresh = Boolean(told.past) || !before;
  const change = told.past || told.news;
  const history = fresh
    ? { since: change.since, holdingsSince: change.holdings_since, steps: new Map(), holdings: new Map() }
    : before.history;
  for (const [at, held, handOuts, p50, p95] of change.steps) history.steps.set(at, { at, held, handOuts, p50, p95 });
  for (const [fence, account, owner, start, end, how] of change.holdings) {
    history.holdings.delete(fence); // so that what ended last stands last
    history.holdings.set(fence, { fence, account, owner, start, end, how });
  }
  forget(history, told.at - span);
  return history;
}

// Hand-outs a second, over the last step and the one that has begun.
function paceOf(history, now, step) {
  const start = (Math.floor(now / step) - 1) * step;
  const count = [start, start + step].reduce((sum, at) => sum + (history.steps.get(at)?.handOuts ?? 0), 0);
  return count / Math.max(now - Math.max(start, history.since), 1);
}

function forget(history, before) {
  for (const at of history.steps.keys()) {
    if (at >= before - 60) break;
    history.steps.delete(at);
  }
  for (const [fence, one] of history.holdings) {
    if (history.holdings.size <= MOST_HOLDINGS && (one.end === null || one.end >= before)) break;
    if (one.end === null) continue;
    history.holdings.delete(fence);
    if (one.end > before) history.holdingsSince = one.end; // there are too many to keep them all
  }
}
