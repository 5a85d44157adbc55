// Discover: pick what you like; what else you may like stands beside it, anew at each click.

import { ask } from "../api.js";
import { h, later } from "../dom.js";
import { facts, failed, notice, poster, reasons, titleOf } from "../films.js";
import { state } from "../state.js";

const NUM_FOUND = 12;
const NUM_SUGGESTED = 12;

const found = h("ul", { class: "films", id: "found" });
const picked = h("ul", { class: "chips", id: "picked", "aria-label": "You like" });
const clear = h("button", { class: "quiet", onclick: startOver }, "Start over");
const search = h("input", { type: "search", id: "search", placeholder: "Any part of a title…", autocomplete: "off" });
const status = h("p", { class: "status", role: "status", "aria-live": "polite" });
const list = h("ol", { class: "suggestions", id: "suggestions" });
const genres = h("div", { class: "toggles", role: "group", "aria-label": "Only these genres" });
const years = ["from", "to"].map((name) =>
  h("input", { type: "number", id: `year-${name}`, inputmode: "numeric", oninput: later(250, recommend) }),
);
const diversity = h("input", {
  type: "range", id: "diversity", min: 0, max: 1, step: 0.1, value: 0, oninput: later(120, recommend),
});
const summary = h("summary", {}, "Filters");
const chosen = new Set();
const denied = new Set();
let asked = new AbortController();
let searched = new AbortController();

export function begin(section) {
  search.addEventListener("input", later(150, find));
  section.append(
    h("div", { class: "hero" },
      h("h1", { id: "discover-title", tabindex: -1 }, "Find your next favourite"),
      h("p", {}, "Pick a few you love. The list changes with every click, and says why."),
    ),
    h("div", { class: "halves" },
      h("div", { class: "panel" },
        h("div", { class: "between" }, h("h2", {}, "You like"), clear),
        picked,
        h("label", { class: "field", for: "search" }, "Search by title"),
        search,
        found,
      ),
      h("div", { class: "panel" },
        h("h2", {}, "You may like"),
        h("div", { class: "tune" },
          h("label", { class: "slide", for: "diversity" }, h("span", {}, "More alike"), diversity, h("span", {}, "More varied")),
          h("details", {}, summary, genres,
            h("div", { class: "years" },
              h("label", { for: "year-from" }, "From year ", years[0]),
              h("label", { for: "year-to" }, "to year ", years[1]),
            ),
          ),
        ),
        status,
        list,
      ),
    ),
  );
  diversity.setAttribute("aria-label", "How varied the list is");
  state.addEventListener("picks", () => {
    showPicked();
    markFound();
    recommend();
  });
  state.addEventListener("model", load);
  showPicked();
  load();
}

async function load() {
  find();
  await describe();
  recommend();
}

async function describe() {
  const model = await ask("/v1/model", { query: { model: state.model } }).catch(() => null);
  if (!model) return;
  for (const genre of chosen) if (!model.genres.includes(genre)) chosen.delete(genre);
  genres.replaceChildren(...model.genres.map((genre) => {
    const button = h("button", { type: "button", "aria-pressed": chosen.has(genre) }, genre);
    button.addEventListener("click", () => {
      if (!chosen.delete(genre)) chosen.add(genre);
      button.setAttribute("aria-pressed", chosen.has(genre));
      recommend();
    });
    return button;
  }));
  const [min, max] = model.years ?? ["", ""];
  for (const [place, field] of years.entries()) Object.assign(field, { min, max, placeholder: [min, max][place] });
}

async function find() {
  searched.abort();
  searched = new AbortController();
  const { signal } = searched;
  try {
    const query = { q: search.value, k: NUM_FOUND, model: state.model };
    const { items } = await ask("/v1/items", { query, signal });
    found.replaceChildren(...items.map((item) => h("li", {}, choice(item))));
    if (items.length === 0) found.append(h("li", {}, notice("No title is like that.")));
  } catch (error) {
    if (!signal.aborted) found.replaceChildren(h("li", {}, notice(failed(error, load))));
  }
}

function choice(item) {
  const button = h("button", { class: "film", "aria-pressed": state.picks.has(item.item_id), onclick: () => state.toggle(item) },
    poster(item), h("span", { class: "facts" }, facts(item)));
  button.dataset.id = JSON.stringify(item.item_id);
  return button;
}

function markFound() {
  for (const button of found.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", state.picks.has(JSON.parse(button.dataset.id)));
  }
}

function showPicked() {
  const chips = [...state.picks.values()].map((item) =>
    h("li", {}, h("button", { class: "chip", "aria-label": `Remove ${titleOf(item)}`, onclick: () => remove(item) },
      h("bdi", {}, titleOf(item)), h("span", { "aria-hidden": "true" }, "×"))));
  clear.hidden = chips.length + denied.size === 0;
  picked.replaceChildren(...(chips.length ? chips : [h("li", { class: "hint" }, "Nothing yet. Here is what many people know:")]));
}

function startOver() {
  denied.clear();
  state.clear();
  search.focus();
}

// The button that had the focus is gone with its item.
function remove(item) {
  state.toggle(item);
  (picked.querySelector("button") ?? search).focus();
}

async function recommend() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  list.setAttribute("aria-busy", "true");
  const [from, to] = years.map((field) => (Number.isInteger(field.valueAsNumber) ? field.valueAsNumber : null));
  const active = chosen.size + (from !== null) + (to !== null);
  summary.textContent = active ? `Filters (${active})` : "Filters";
  try {
    const answer = await ask("/v1/recommendations", {
      body: {
        history: [...state.picks.keys()], k: NUM_SUGGESTED, genre: [...chosen], year_from: from, year_to: to,
        diversity: diversity.valueAsNumber, deny: [...denied], model: state.model,
      },
      signal,
    });
    refill(answer.items);
    status.replaceChildren(...said(answer));
  } catch (error) {
    if (signal.aborted) return;
    list.replaceChildren();
    status.replaceChildren(...failed(error, load));
  }
  list.removeAttribute("aria-busy");
}

// The focus stays where it was in the list, though the item there is another.
function refill(items) {
  const focused = document.activeElement;
  const place = [...list.children].findIndex((row) => row.contains(focused));
  list.replaceChildren(...items.map(suggestion));
  if (place >= 0) (list.children[place]?.querySelector(`.${focused.className}`) ?? search).focus();
}

function said({ items, fallback }) {
  if (items.length === 0) return ["Nothing fits. Loosen the filters."];
  // A model that gives no reasons, such as popularity, may not have gone by what they like.
  const why = items.some((item) => item.because.length) ? " for what you like" : "";
  const kind = fallback ? "Popular with everyone. Pick some to make it yours." : `Chosen by ${state.model}${why}.`;
  return [kind, h("span", { class: "visually-hidden" }, ` ${items.length} items, first ${titleOf(items[0])}.`)];
}

function suggestion(item) {
  const name = titleOf(item);
  return h("li", {},
    poster(item),
    h("div", { class: "facts" }, facts(item, "h3"), reasons(item)),
    h("div", { class: "act" },
      h("button", { class: "like", "aria-label": `Like ${name}`, title: "I like it", onclick: () => state.toggle(item) }, "♥"),
      h("button", { class: "dismiss", "aria-label": `Not for me: ${name}`, title: "Not for me", onclick: () => dismiss(item) }, "×"),
    ),
  );
}

function dismiss(item) {
  denied.add(item.item_id);
  clear.hidden = false;
  recommend();
}
