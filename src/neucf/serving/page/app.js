// The frame: which view shows, and which model answers.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { notice } from "./films.js";
import { state } from "./state.js";
import * as discover from "./views/discover.js";
import * as map from "./views/map.js";
import * as models from "./views/models.js";
import * as users from "./views/users.js";

const VIEWS = { discover, users, models, map };
const begun = new Set();

function show(moved) {
  const name = location.hash.slice(1) || "discover";
  if (!Object.hasOwn(VIEWS, name)) return;
  for (const each of Object.keys(VIEWS)) {
    document.getElementById(each).hidden = each !== name;
    document.querySelector(`nav a[href="#${each}"]`).toggleAttribute("aria-current", each === name);
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
  state.runs = await ask("/v1/models");
  state.model = state.runs.default;
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

begin().catch((error) => document.getElementById("main").append(notice(error.message)));
