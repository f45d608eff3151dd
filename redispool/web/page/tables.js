// Tables that change in place, so that what has the focus keeps it.

import { clock, compare, duration, figure, plain } from "./text.js";
import { SUDDEN } from "./timeline.js";

export class Table {
  #table;
  #body;
  #rows = new Map();
  #columns;
  #empty;
  sort = null;

  // columns: {name, cell: (row) => text or {text, title, kind} or [buttons], number, by: (row) => what it is sorted by}
  constructor(id, columns, { empty, sort = null, sorted = () => {} }) {
    this.#table = document.getElementById(id);
    this.#columns = columns;
    this.#empty = empty;
    this.sort = sort;
    this.#table.append(this.#head(sorted), (this.#body = document.createElement("tbody")));
  }

  #head(sorted) {
    const row = document.createElement("tr");
    for (const column of this.#columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      if (column.number) cell.className = "number";
      if (column.by && this.sort) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = column.name;
        button.addEventListener("click", () => {
          this.sort = { name: column.name, down: this.sort.name === column.name ? !this.sort.down : Boolean(column.down) };
          sorted();
        });
        cell.append(button);
      } else {
        cell.textContent = column.name;
      }
      row.append(cell);
    }
    const head = document.createElement("thead");
    head.append(row);
    return head;
  }

  show(rows) {
    this.#mark();
    const wanted = this.sort ? this.#sorted(rows) : rows;
    const focused = document.activeElement;
    const before = this.#rows;
    this.#rows = new Map();
    let place = this.#body.firstElementChild;
    for (const row of wanted) {
      const line = before.get(row.key) || this.#line();
      this.#rows.set(row.key, line);
      this.#fill(line, row);
      if (line === place) place = place.nextElementSibling;
      else this.#body.insertBefore(line, place);
    }
    while (place) {
      const next = place.nextElementSibling;
      place.remove();
      place = next;
    }
    if (!wanted.length) this.#body.append(this.#nothing());
    if (focused !== document.activeElement && focused?.isConnected) focused.focus();
  }

  #mark() {
    if (!this.sort) return;
    const cells = this.#table.tHead.rows[0].cells;
    this.#columns.forEach((column, place) => {
      const chosen = column.name === this.sort.name;
      if (chosen) cells[place].setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else cells[place].removeAttribute("aria-sort");
    });
  }

  #sorted(rows) {
    const column = this.#columns.find((one) => one.name === this.sort.name);
    const order = (one, other) => {
      const [a, b] = [column.by(one), column.by(other)];
      return typeof a === "string" ? compare(a, b) : a - b;
    };
    const sorted = [...rows].sort(order);
    return this.sort.down ? sorted.reverse() : sorted;
  }

  #line() {
    const line = document.createElement("tr");
    for (const column of this.#columns) {
      const cell = document.createElement(column.heads ? "th" : "td");
      if (column.heads) cell.scope = "row";
      if (column.number) cell.className = "number";
      line.append(cell);
    }
    return line;
  }

  #nothing() {
    const line = document.createElement("tr");
    const cell = document.createElement("td");
    cell.colSpan = this.#columns.length;
    cell.className = "nothing";
    cell.textContent = this.#empty;
    line.append(cell);
    return line;
  }

  #fill(line, row) {
    this.#columns.forEach((column, place) => {
      const cell = line.cells[place];
      if (column.buttons) {
        fillButtons(cell, column.buttons(row), row);
        return;
      }
      const value = column.cell(row);
      const { text, kind = "" } = typeof value === "object" && value !== null ? value : { text: value };
      const shown = plain(text ?? "");
      if (cell.textContent !== shown) cell.textContent = shown;
      const wanted = `${column.number ? "number" : ""} ${kind}`.trim();
      if (cell.className !== wanted) cell.className = wanted;
    });
  }
}

// Buttons stay the same elements as long as there are the same ones.
function fillButtons(cell, wanted, row) {
  if (cell.tagName === "TD") cell.className = "actions";
  cell.row = row;
  if (cell.childElementCount === wanted.length) return;
  cell.replaceChildren(
    ...wanted.map(({ name, label, act, kind = "" }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = kind;
      button.textContent = plain(name(row));
      button.setAttribute("aria-label", plain(label(row)));
      button.addEventListener("click", () => act(cell.row));
      return button;
    }),
  );
}

export const poolColumns = (choose) => [
  { name: "Pool", heads: true, buttons: () => [{ name: (pool) => pool.name, label: (pool) => `Show pool ${pool.name} only`, act: (pool) => choose(pool.name), kind: "link" }] },
  { name: "Accounts", number: true, cell: (pool) => pool.accounts },
  { name: "Free", number: true, cell: (pool) => pool.free },
  { name: "Held", number: true, cell: (pool) => pool.held },
  { name: "Resting", number: true, cell: (pool) => pool.cooling },
  { name: "Quarantined", number: true, cell: (pool) => ({ text: pool.quarantined, kind: pool.quarantined ? "bad" : "" }) },
  { name: "Waiting", number: true, cell: (pool) => ({ text: pool.waiting, kind: pool.waiting ? "warn" : "" }) },
  { name: "A second", number: true, cell: (pool) => figure(pool.pace) },
  { name: "p50", number: true, cell: (pool) => duration(pool.waits.p50) },
  { name: "p95", number: true, cell: (pool) => duration(pool.waits.p95) },
  { name: "p99", number: true, cell: (pool) => duration(pool.waits.p99) },
];

export const leaseColumns = (model, buttons) => [
  { name: "Account", heads: true, cell: (one) => one.account, by: (one) => one.account },
  { name: "Pool", cell: (one) => one.pool, by: (one) => one.pool },
  { name: "Held by", cell: (one) => one.owner, by: (one) => one.owner },
  { name: "For", number: true, cell: (one) => duration(model.now - one.acquired), by: (one) => -one.acquired, down: true },
  {
    name: "Ends in",
    number: true,
    cell: (one) => ({ text: duration(one.expires - model.now), kind: one.expires - model.now < 1 ? "bad" : "" }),
    by: (one) => one.expires,
  },
  { name: "Purpose", cell: (one) => `${one.purpose} ${one.note}`.trim() },
  { name: "", buttons },
];

export const waiterColumns = (model) => [
  { name: "#", number: true, cell: (one) => one.place },
  { name: "Who", heads: true, cell: (one) => one.owner },
  { name: "Pool", cell: (one) => one.pool },
  { name: "Wants", cell: (one) => (one.count > 1 ? `${one.count} of ${one.wants || "any"}` : one.wants || "any") },
  { name: "Since", number: true, cell: (one) => duration(model.now - one.since) },
  { name: "About", number: true, cell: (one) => duration(one.estimate) || "?" },
];

export const outColumns = (model, buttons) => [
  { name: "Account", heads: true, cell: (one) => one.account },
  { name: "Pool", cell: (one) => one.pool },
  { name: "For", number: true, cell: (one) => duration(model.now - one.since) },
  { name: "By", cell: (one) => one.by },
  { name: "Reason", cell: (one) => one.reason },
  { name: "", buttons },
];

export const endedColumns = [
  { name: "From", cell: (one) => clock(one.start) },
  { name: "To", cell: (one) => (one.end === null ? "now" : clock(one.end)) },
  { name: "Account", heads: true, cell: (one) => one.account },
  { name: "Pool", cell: (one) => one.pool },
  { name: "Holder", cell: (one) => one.owner },
  { name: "It was", cell: (one) => ({ text: one.end === null ? "held" : one.how, kind: SUDDEN.includes(one.how) ? "bad" : "" }) },
];
