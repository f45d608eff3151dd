// What an operator can do: release, quarantine, restore; each after a question, and with the token.

import { plain } from "./text.js";

const KEPT = "redispool-token";
const at = (id) => document.getElementById(id);

export class Actions {
  #changed;
  #say;
  #act = null; // what the open question is about

  // changed: is called when what can be done has changed; say: shows a line, and whether it tells of a failure
  constructor(changed, say) {
    this.#changed = changed;
    this.#say = say;
    this.#takeFromAddress();
    addEventListener("hashchange", () => {
      this.#takeFromAddress();
      this.#changed();
    });
    at("unlock").addEventListener("click", () => this.#unlock());
    at("unlocking").addEventListener("close", () => this.#unlocked());
    at("question").addEventListener("close", () => this.#answered());
    for (const button of document.querySelectorAll("dialog .cancel")) {
      button.addEventListener("click", () => button.closest("dialog").close(""));
    }
  }

  get token() {
    return sessionStorage.getItem(KEPT);
  }

  // The fragment is sent to no server; it goes from the address at once, so that it stays in no history.
  #takeFromAddress() {
    if (!location.hash.startsWith("#token=")) return;
    sessionStorage.setItem(KEPT, decodeURIComponent(location.hash.slice("#token=".length)));
    history.replaceState(null, "", location.pathname);
  }

  #unlock() {
    if (this.token) {
      this.#forget();
      return;
    }
    at("token").value = "";
    at("unlocking").returnValue = "";
    at("unlocking").showModal();
    at("token").focus();
  }

  #unlocked() {
    const typed = at("token").value.trim();
    at("token").value = "";
    if (at("unlocking").returnValue === "yes" && typed) sessionStorage.setItem(KEPT, typed);
    this.#changed();
  }

  #forget() {
    sessionStorage.removeItem(KEPT);
    this.#changed();
  }

  release = (one) =>
    this.#ask(`Release account ${quoted(one.account)} of pool ${quoted(one.pool)}, held by ${quoted(one.owner)}? Who holds it is told only when it asks.`, "Release", false, () =>
      this.#do("release", { pool: one.pool, account: one.account, owner: one.owner }, `released account ${quoted(one.account)} of pool ${quoted(one.pool)}`),
    );

  quarantine = (one) =>
    this.#ask(`Quarantine account ${quoted(one.account)} of pool ${quoted(one.pool)}? Its holder keeps it; nobody gets it after that.`, "Quarantine", true, (reason) =>
      this.#do("quarantine", { pool: one.pool, account: one.account, reason }, `quarantined account ${quoted(one.account)} of pool ${quoted(one.pool)}`),
    );

  restore = (one) =>
    this.#ask(`Restore account ${quoted(one.account)} to the rotation of pool ${quoted(one.pool)}?`, "Restore", false, () =>
      this.#do("restore", { pool: one.pool, account: one.account }, `restored account ${quoted(one.account)} of pool ${quoted(one.pool)}`),
    );

  #ask(question, verb, withReason, act) {
    const dialog = at("question");
    at("asked").textContent = plain(question);
    at("yes").textContent = verb;
    at("reason-label").hidden = !withReason;
    at("reason").value = "";
    dialog.returnValue = "";
    this.#act = act;
    dialog.showModal();
    if (withReason) at("reason").focus();
  }

  #answered() {
    const dialog = at("question");
    if (dialog.open) return; // the event comes late, of the question before
    if (dialog.returnValue === "yes") this.#act(at("reason").value.trim());
  }

  async #do(action, told, done) {
    try {
      const reply = await fetch(`/actions/${action}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.token}` },
        body: JSON.stringify(told),
      });
      const { error = "" } = await reply.json();
      if (reply.status === 403) this.#forget();
      this.#say(reply.ok ? done : `not done: ${error}`, !reply.ok);
    } catch (error) {
      this.#say(`not done: the page's server does not answer (${error.message})`, true);
    }
  }
}

const quoted = (text) => `\u201C${plain(text)}\u201D`;
