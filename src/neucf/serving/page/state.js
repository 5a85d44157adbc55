// What the views share: the runs that are served, the one chosen, and the items picked. A reload keeps them, the tab's end does not.

const KEPT = "neucf-state";

class State extends EventTarget {
  /** The answer of GET /v1/models. */
  runs = { default: "", models: [] };
  /** The label of the run chosen. */
  model = "";
  /** Items picked, by id. */
  picks = new Map();

  /** Takes the answer, and what this tab kept. */
  begin(runs) {
    this.runs = runs;
    const kept = JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
    this.model = runs.models.some((run) => run.label === kept.model) ? kept.model : runs.default;
    // In other data the same ids are other items.
    if (kept.data === runs.models[0].data) this.picks = new Map(kept.picks.map((item) => [item.item_id, item]));
  }

  choose(label) {
    this.model = label;
    this.#tell("model");
  }

  /** Picks an item, or lets go of it. */
  toggle(item) {
    if (!this.picks.delete(item.item_id)) this.picks.set(item.item_id, item);
    this.#tell("picks");
  }

  clear() {
    this.picks.clear();
    this.#tell("picks");
  }

  #tell(what) {
    const kept = { data: this.runs.models[0].data, model: this.model, picks: [...this.picks.values()] };
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
    this.dispatchEvent(new Event(what));
  }
}

export const state = new State();
