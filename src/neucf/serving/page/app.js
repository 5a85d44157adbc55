// The frame: which view shows, and which model answers.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { failed } from "./films.js";
import { state } from "./state.js";
import * as discover from "./views/discover.js";
import * as map from "./views/map.js";
import * as models from "./views/models.js";
import * as users from "./views/users.js";

const VIEWS = { discover, users, models, map };
const begun = new Set();
const trouble = h("p", { class: "notice", role: "alert", hidden: true });

function show(moved) {
  let name = location.hash.slice(1) || "discover";
  if (!Object.hasOwn(VIEWS, name)) {
    // `#main`, where the skip link leads, leaves the view as it is; a page opened there has none yet.
    if (begun.size) return;
    name = "discover";
  }
  for (const each of Object.keys(VIEWS)) {
    document.getElementById(each).hidden = each !== name;
    document.querySelector(`nav a[href="#${each}"]`).ariaCurrent = each === name ? "page" : null;
  }
  const section = document.getElementById(name);
  if (!begun.has(name)) {
    begun.add(name);
    VIEWS[name].begin(section);
  }
  const heading = section.querySelector("h1");
  document.title = `${heading.textContent} · neucf`;
  if (moved) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
}

async function begin() {
  try {
    state.begin(await ask("/v1/models"));
  } catch (error) {
    trouble.replaceChildren(...failed(error, begin));
    trouble.hidden = false;
    return;
  }
  trouble.hidden = true;
  const picker = document.getElementById("model");
  picker.append(...state.runs.models.map((run) => h("option", { value: run.label }, run.label)));
  picker.value = state.model;
  picker.addEventListener("change", () => state.choose(picker.value));
  const [run] = state.runs.models;
  document.getElementById("served").textContent =
    `${run.data ?? "A data set"}: ${run.num_users.toLocaleString("en")} users, ${run.num_items.toLocaleString("en")} items.`;
  addEventListener("hashchange", () => show(true));
  show(false);
}

document.getElementById("main").append(trouble);
begin();
