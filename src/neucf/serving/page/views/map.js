// Map: the items as points, near ones liked by the same people. Arrow keys walk from point to point.

import { ask } from "../api.js";
import { h, later } from "../dom.js";
import { facts, failed, hue, titleOf } from "../films.js";
import { Plane } from "../plane.js";
import { state } from "../state.js";

const NUM_GENRES = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const canvas = h("canvas", { id: "plane", tabindex: 0, role: "application",
  "aria-label": "Map of items. Arrow keys go to the next item that way, plus and minus zoom, Enter picks it.", "aria-describedby": "map-status" });
const plane = new Plane(canvas);
const tip = h("div", { class: "tip", hidden: true });
const frame = h("div", { class: "plane", hidden: true }, canvas, tip);
const legend = h("div", { class: "toggles", role: "group", "aria-label": "Highlight a genre" });
const search = h("input", { type: "search", id: "map-search", placeholder: "Find on the map", autocomplete: "off" });
const status = h("p", { class: "status", id: "map-status", role: "status", "aria-live": "polite" });
let overview = "";
let current = null;
let highlighted = null;
let drag = null;

export function begin(section) {
  section.append(
    h("div", { class: "hero" },
      h("h1", { id: "map-title", tabindex: -1 }, "The shape of taste"),
      h("p", {}, "What the same people like lies close together. Colour is the first genre, if any."),
    ),
    h("div", { class: "mapbar" },
      h("label", { class: "field visually-hidden", for: "map-search" }, "Find on the map"), search,
      h("button", { type: "button", "aria-label": "Zoom in", onclick: () => zoom(1.5) }, "+"),
      h("button", { type: "button", "aria-label": "Zoom out", onclick: () => zoom(1 / 1.5) }, "−"),
      h("button", { type: "button", onclick: showAll }, "Show all")),
    legend, status, frame);
  canvas.addEventListener("pointermove", moved);
  canvas.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, far: false }; });
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointerleave", () => { drag = null; });
  canvas.addEventListener("wheel", wheeled, { passive: false });
  canvas.addEventListener("keydown", walked);
  canvas.addEventListener("focus", () => { if (!current) choose(plane.points[0]); });
  search.addEventListener("input", later(200, find));
  new ResizeObserver(draw).observe(frame);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  state.addEventListener("model", load);
  state.addEventListener("picks", draw);
  load();
}

async function load() {
  const label = state.model;
  fill([]);
  status.textContent = "Loading…";
  try {
    const map = await ask("/v1/map", { query: { model: label } });
    if (label !== state.model) return;
    const [count, all] = [map.points.length, state.runs.models.find((run) => run.label === label).num_items];
    const which = count < all ? `The ${count.toLocaleString("en")} most popular of ${all.toLocaleString("en")}` : count.toLocaleString("en");
    const shown = map.explained.reduce((sum, share) => sum + share, 0);
    overview = `${which} items as ${label} sees them; these two axes show ${Math.round(100 * shown)} % of it.`;
    fill(map.points);
    find();
  } catch (error) {
    if (label === state.model) status.replaceChildren(...failed(error, load));
  }
}

function fill(points) {
  current = null;
  frame.hidden = points.length === 0;
  plane.fill(points);
  showLegend();
  draw();
}

function showLegend() {
  const counts = new Map();
  for (const { genres: [genre] } of plane.points) if (genre) counts.set(genre, (counts.get(genre) ?? 0) + 1);
  const common = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, NUM_GENRES);
  highlighted = null;
  legend.replaceChildren(...common.map((genre) => {
    const button = h("button", { type: "button", class: "keyed", "aria-pressed": "false", "--one": hue(genre) }, genre);
    button.addEventListener("click", () => {
      highlighted = highlighted === genre ? null : genre;
      for (const each of legend.children) each.setAttribute("aria-pressed", each.textContent === highlighted);
      draw();
    });
    return button;
  }));
}

/** Draws the points, and puts the title of the current one beside it. */
function draw() {
  plane.draw(highlighted, current, state.picks);
  tip.hidden = current === null;
  if (!current) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [x, y] = plane.at(current);
  tip.replaceChildren(...facts(current));
  tip.style.setProperty("--x", `${Math.min(Math.max(x, 0), width)}px`);
  tip.style.setProperty("--y", `${Math.min(Math.max(y, 0), height)}px`);
  tip.classList.toggle("left", x > width / 2);
  tip.classList.toggle("above", y > height / 2);
}

function zoom(by) {
  plane.zoom(by, ...(current && plane.sees(current) ? plane.at(current) : []));
  draw();
}

function showAll() {
  plane.showAll();
  draw();
}

// Where the zoom ends, the wheel scrolls the page.
function wheeled(event) {
  if (!plane.zoom(1.2 ** -Math.sign(event.deltaY), event.offsetX, event.offsetY)) return;
  event.preventDefault();
  draw();
}

function choose(point) {
  current = point;
  draw();
  say();
}

function say() {
  const { year, genres } = current;
  const rest = [year ? `, ${year}` : "", genres.length ? `. ${genres.join(", ")}` : "", state.picks.has(current.item_id) ? ". Picked." : ". Enter picks it."];
  status.replaceChildren(h("bdi", {}, titleOf(current)), rest.join(""));
}

function moved(event) {
  if (drag && event.buttons) {
    const [right, down] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.far && Math.hypot(right, down) < 5) return;
    drag = { x: event.clientX, y: event.clientY, far: true };
    plane.move(right, down);
    draw();
    return;
  }
  const found = plane.nearest(event.offsetX, event.offsetY, 16);
  if (found && found !== current) choose(found);
}

function released(event) {
  const found = drag && !drag.far ? plane.nearest(event.offsetX, event.offsetY, 20) : null;
  drag = null;
  if (!found) return;
  choose(found);
  pick();
}

function pick() {
  state.toggle(current);
  say();
}

function walked(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = { Enter: pick, " ": pick, "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), Home: showAll };
  const act = ARROWS[event.key] ? () => step(...ARROWS[event.key]) : acts[event.key];
  if (!act) return;
  event.preventDefault();
  current ??= plane.points[0];
  act();
}

function step(right, up) {
  const next = plane.next(current, right, up);
  if (!next) return;
  if (!plane.sees(next)) plane.show(next);
  choose(next);
}

function folded(text) {
  return text.normalize("NFKD").toLowerCase().replace(/\p{Mn}/gu, "");
}

function find() {
  const words = folded(search.value).split(/\s+/).filter(Boolean);
  if (plane.points.length === 0) return;
  if (words.length === 0) {
    status.textContent = overview;
    return;
  }
  const found = plane.points.find((point) => words.every((word) => folded(point.title ?? String(point.item_id)).includes(word)));
  if (!found) {
    status.textContent = "Nothing on the map has all these words.";
    return;
  }
  plane.show(found, 4);
  choose(found);
}
