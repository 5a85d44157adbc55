// Models: how good each run is on validation, how sure that is, and how it learned.

import { ask } from "../api.js";
import { curve, interval, metricTitle } from "../charts.js";
import { h } from "../dom.js";
import { failed, notice } from "../films.js";

const select = h("select", { id: "metric" });
const rows = h("tbody");
const curves = h("div", { class: "curves" });
const table = h("table", { class: "leaderboard" },
  h("caption", {}, "Means over users with 95 % intervals."),
  h("thead", {}, h("tr", {}, ["Run", "Mean", "Interval", "Trained in"].map((name) => h("th", { scope: "col" }, name)))),
  rows);

export function begin(section) {
  section.append(
    h("div", { class: "hero" },
      h("h1", { id: "models-title", tabindex: -1 }, "Who guesses best?"),
      h("p", {}, "Judged on validation: likes the models have not seen."),
    ),
    h("div", { class: "row" }, h("label", { class: "label", for: "metric" }, "Metric"), select),
    h("div", { class: "panel wide" }, table),
    h("h2", {}, "How they learned"),
    h("p", { class: "legend" }, h("span", { class: "key value" }, "metric on validation"), h("span", { class: "key loss" }, "training loss, from its least to its most")),
    curves,
  );
  load();
}

async function load() {
  say("Loading…");
  try {
    const board = await ask("/v1/leaderboard");
    const names = [...new Set(board.models.flatMap((run) => Object.keys(run.metrics)))];
    select.append(...names.map((name) => h("option", { value: name }, metricTitle(name))));
    select.value = names.includes(board.metric) ? board.metric : (names[0] ?? "");
    select.addEventListener("change", () => list(board));
    list(board);
    learn(board);
  } catch (error) {
    say(...failed(error, load));
  }
}

const say = (...words) => rows.replaceChildren(h("tr", {}, h("td", { colspan: 4 }, words)));

function list({ models }) {
  const metric = select.value;
  const judged = models.filter((run) => run.metrics[metric]).sort((a, b) => b.metrics[metric].mean - a.metrics[metric].mean);
  const top = Math.max(...judged.map((run) => run.metrics[metric].ci95?.[1] ?? run.metrics[metric].mean), 1e-9);
  rows.replaceChildren(...judged.map((run) => {
    const value = run.metrics[metric];
    const words = value.ci95 ? `${value.ci95[0].toFixed(4)} to ${value.ci95[1].toFixed(4)}` : "none";
    return h("tr", {},
      h("th", { scope: "row" }, run.label, h("span", { class: "meta" }, [run.data, run.split].filter(Boolean).join(" · "))),
      h("td", { class: "number" }, value.mean.toFixed(4)),
      h("td", { class: "drawn" }, interval(value, top), h("span", { class: "meta" }, words)),
      h("td", { class: "number" }, took(run.train_seconds)));
  }));
  if (judged.length === 0) say("No run was judged on validation.");
}

const took = (seconds) => (seconds === null ? "–" : seconds < 0.1 ? "< 0.1 s" : `${seconds.toFixed(1)} s`);

function learn({ metric, models }) {
  const learned = models.filter((run) => run.curve.length > 1);
  const top = Math.max(...learned.flatMap((run) => run.curve.map((point) => point.value ?? 0)), 1e-9);
  curves.replaceChildren(...learned.map((run) => {
    const values = run.curve.map((point) => point.value).filter((value) => value !== null);
    const best = values.length ? `best ${metricTitle(metric)} ${Math.max(...values).toFixed(4)}` : "not judged while it learned";
    return h("figure", { class: "panel" }, h("figcaption", {}, h("strong", {}, run.label), h("span", { class: "meta" }, best)),
      curve(run.curve, top, `${run.label}: ${best}, over ${run.curve.length} epochs`));
  }));
  if (learned.length === 0) curves.append(notice("None of these runs learns by epochs."));
}
