// Users: what somebody is known to have liked, beside what each model would suggest.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { facts, failed, notice, poster, reasons } from "../films.js";
import { state } from "../state.js";

const NUM_SHOWN = 10;
// More columns than these are hard to compare.
const NUM_COLUMNS = 2;

const field = h("input", { id: "user", name: "user", autocomplete: "off", required: true });
const examples = h("div", { class: "toggles", role: "group", "aria-label": "Some users" });
const models = h("div", { class: "toggles", role: "group", "aria-label": "Models to compare" });
const status = h("p", { class: "status", role: "status", "aria-live": "polite" });
const columns = h("div", { class: "columns", id: "columns" });
const compared = new Set();
let shown = 0;

export function begin(section) {
  section.append(
    h("div", { class: "hero" },
      h("h1", { id: "users-title", tabindex: -1 }, "Look over a shoulder"),
      h("p", {}, "One person’s history beside what the models make of it."),
    ),
    h("form", { class: "ask", onsubmit: (event) => { event.preventDefault(); show(); } },
      h("label", { class: "field", for: "user" }, "User id"), field, h("button", { class: "primary" }, "Show")),
    h("div", { class: "row" }, h("span", { class: "label" }, "Or one of"), examples),
    h("div", { class: "row" }, h("span", { class: "label" }, "Compare"), models),
    status,
    columns,
  );
  const labels = state.runs.models.map((run) => run.label);
  for (const label of [state.model, ...labels.filter((each) => each !== state.model)].slice(0, NUM_COLUMNS)) compared.add(label);
  models.append(...labels.map((label) => toggle(label)));
  state.addEventListener("model", () => {
    compared.add(state.model);
    for (const button of models.children) button.setAttribute("aria-pressed", compared.has(button.textContent));
    show();
  });
  start();
}

async function start() {
  status.textContent = "";
  try {
    const { user_examples } = await ask("/v1/model", { query: { model: state.model } });
    examples.append(...user_examples.map((user) =>
      h("button", { type: "button", onclick: () => { field.value = user; show(); } }, String(user))));
    if (user_examples.length && !field.value) {
      field.value = user_examples[0];
      show();
    }
  } catch (error) {
    status.replaceChildren(...failed(error, start));
  }
}

function toggle(label) {
  const button = h("button", { type: "button", "aria-pressed": compared.has(label) }, label);
  button.addEventListener("click", () => {
    if (!compared.delete(label)) compared.add(label);
    button.setAttribute("aria-pressed", compared.has(label));
    show();
  });
  return button;
}

async function show() {
  const user = field.value.trim();
  if (!user) return;
  const turn = (shown += 1);
  status.textContent = "Loading…";
  columns.setAttribute("aria-busy", "true");
  const path = `/v1/users/${encodeURIComponent(user)}`;
  const labels = state.runs.models.map((run) => run.label).filter((label) => compared.has(label));
  const list = (label) => ask(`${path}/recommendations`, { query: { k: NUM_SHOWN, model: label } });
  const [history, ...lists] = await Promise.allSettled([
    ask(`${path}/history`, { query: { k: NUM_SHOWN, model: state.model } }),
    ...labels.map(list),
  ]);
  if (turn !== shown) return;
  columns.removeAttribute("aria-busy");
  if (history.status === "rejected") {
    status.replaceChildren(...failed(history.reason, show));
    columns.replaceChildren();
    return;
  }
  const answers = lists.filter((each) => each.status === "fulfilled").map((each) => each.value.items);
  const shared = inAll(answers);
  columns.replaceChildren(
    column("History", history.value.items.map((item) => row(item, rated(item)))),
    ...lists.map((each, place) => column(labels[place], each.status === "fulfilled"
      ? each.value.items.map((item) => row(item, reasons(item, "they"), shared.has(item.item_id)))
      : [h("li", {}, notice(failed(each.reason, show)))], true)),
  );
  const agreed = answers.length > 1 ? ` ${shared.size} of ${NUM_SHOWN} items stand in every list.` : "";
  const known = history.value.items.some((item) => item.rating !== null) ? "what they rated best" : "what they are known by";
  status.replaceChildren("User ", h("bdi", {}, user), `: ${known}, and what is suggested.${agreed}`);
}

/** Returns the ids that stand in each of several lists; none where there is but one. */
function inAll(lists) {
  if (lists.length < 2) return new Set();
  const ids = lists.map((items) => new Set(items.map((item) => item.item_id)));
  return new Set([...ids[0]].filter((id) => ids.every((each) => each.has(id))));
}

const column = (title, rows, ranked = false) =>
  h("div", { class: "panel" }, h("h2", {}, title), h(ranked ? "ol" : "ul", { class: "suggestions" }, rows));

function row(item, below, shared = false) {
  return h("li", {},
    poster(item),
    h("div", { class: "facts" }, facts(item, "h3"), below, shared ? h("p", { class: "shared" }, "✓ in every list") : null));
}

function rated(item) {
  const words = [item.rating === null ? null : `★ ${item.rating}`, item.source === "event" ? "just now" : null];
  return h("p", { class: "why" }, words.filter(Boolean).join(", "));
}
