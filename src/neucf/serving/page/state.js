// What the views share: the runs that are served, the one chosen, and the films picked.

class State extends EventTarget {
  /** The answer of GET /v1/models. */
  runs = { default: "", models: [] };
  /** The label of the run chosen. */
  model = "";
  /** Items picked, by id. */
  picks = new Map();

  choose(label) {
    this.model = label;
    this.dispatchEvent(new Event("model"));
  }

  /** Picks an item, or lets go of it. */
  toggle(item) {
    if (!this.picks.delete(item.item_id)) this.picks.set(item.item_id, item);
    this.dispatchEvent(new Event("picks"));
  }

  clear() {
    this.picks.clear();
    this.dispatchEvent(new Event("picks"));
  }
}

export const state = new State();
