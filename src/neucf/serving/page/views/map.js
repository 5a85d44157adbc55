// Map: the items as points, near ones liked by the same people. Arrow keys walk from point to point.

import { ask } from "../api.js";
import { h, later } from "../dom.js";
import { facts, hue, titleOf } from "../films.js";
import { state } from "../state.js";

const NUM_GENRES = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const canvas = h("canvas", { id: "plane", tabindex: 0, role: "application",
  "aria-label": "Map of films. Arrow keys go to the next film that way, plus and minus zoom, Enter picks it.", "aria-describedby": "map-status" });
const tip = h("div", { class: "tip", hidden: true });
const frame = h("div", { class: "plane" }, canvas, tip);
const legend = h("div", { class: "toggles", role: "group", "aria-label": "Highlight a genre" });
const search = h("input", { type: "search", id: "map-search", placeholder: "Find a film on the map", autocomplete: "off" });
const status = h("p", { class: "status", id: "map-status", role: "status", "aria-live": "polite" });
let points = [];
let current = null;
let highlighted = null;
let box = { x: 0, y: 0, across: 1, up: 1 };
let view = { x: 0, y: 0, zoom: 1 };
let drag = null;

export function begin(section) {
  section.append(
    h("div", { class: "hero" },
      h("h1", { id: "map-title", tabindex: -1 }, "The shape of taste"),
      h("p", {}, "Films that the same people like lie close together. Colour is the first genre."),
    ),
    h("div", { class: "mapbar" },
      h("label", { class: "field visually-hidden", for: "map-search" }, "Find a film on the map"), search,
      h("button", { type: "button", "aria-label": "Zoom in", onclick: () => zoom(1.5) }, "+"),
      h("button", { type: "button", "aria-label": "Zoom out", onclick: () => zoom(1 / 1.5) }, "−"),
      h("button", { type: "button", onclick: () => see(box.x, box.y, 1) }, "Show all")),
    legend, frame, status);
  canvas.addEventListener("pointermove", moved);
  canvas.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, far: false }; });
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointerleave", () => { drag = null; });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2); }, { passive: false });
  canvas.addEventListener("keydown", walked);
  canvas.addEventListener("focus", () => { if (!current && points.length) choose(points[0]); });
  search.addEventListener("input", later(200, find));
  new ResizeObserver(draw).observe(frame);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  state.addEventListener("model", load);
  state.addEventListener("picks", draw);
  load();
}

async function load() {
  const label = state.model;
  [points, current] = [[], null];
  try {
    const map = await ask("/v1/map", { query: { model: label } });
    if (label !== state.model) return;
    points = map.points;
    const shown = map.explained.reduce((sum, share) => sum + share, 0);
    status.textContent = `${points.length} films as ${map.label} sees them; these two axes show ${Math.round(100 * shown)} % of it.`;
  } catch (error) {
    if (label !== state.model) return;
    status.textContent = error.message;
  }
  box = bounds();
  showLegend();
  see(box.x, box.y, 1);
  place();
}

function showLegend() {
  const counts = new Map();
  for (const { genres: [genre] } of points) if (genre) counts.set(genre, (counts.get(genre) ?? 0) + 1);
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

function see(x, y, scale) {
  view = { x, y, zoom: Math.min(Math.max(scale, 1), 40) };
  draw();
  place();
}

const zoom = (by) => see(current?.x ?? view.x, current?.y ?? view.y, view.zoom * by);

/** Returns the middle of the points, and half of what they span. */
function bounds() {
  const [xs, ys] = [points.map((point) => point.x), points.map((point) => point.y)];
  const [left, right, low, high] = points.length ? [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)] : [-1, 1, -1, 1];
  return { x: (left + right) / 2, y: (low + high) / 2, across: Math.max((right - left) / 2, 1e-6), up: Math.max((high - low) / 2, 1e-6) };
}

/** Returns how many CSS pixels one unit is, across and up. */
function scales() {
  const { clientWidth: width, clientHeight: height } = canvas;
  return [((width / 2 - 20) / box.across) * view.zoom, ((height / 2 - 20) / box.up) * view.zoom];
}

/** Returns where a point lies on the canvas, in CSS pixels. */
function at(point) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const [across, up] = scales();
  return [width / 2 + (point.x - view.x) * across, height / 2 - (point.y - view.y) * up];
}

function draw() {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  const ratio = devicePixelRatio || 1;
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const ink = getComputedStyle(canvas).color;
  const radius = Math.min(2.5 + view.zoom / 2, 7);
  for (const point of [...points].reverse()) {
    const [x, y] = at(point);
    if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
    const lit = highlighted ? point.genres.includes(highlighted) : true;
    context.globalAlpha = lit ? 0.85 : 0.12;
    context.fillStyle = `oklch(${dark ? 0.75 : 0.58} 0.16 ${hue(lit && highlighted ? highlighted : point.genres[0])})`;
    dot(context, x, y, radius);
    context.fill();
  }
  context.globalAlpha = 1;
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 2;
  for (const point of points) {
    if (!state.picks.has(point.item_id) && point !== current) continue;
    dot(context, ...at(point), point === current ? radius + 4 : radius + 2);
    context.stroke();
  }
}

function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
}

/** Puts the title beside its point. */
function place() {
  tip.hidden = current === null;
  if (!current) return;
  const [x, y] = at(current);
  tip.replaceChildren(...facts(current));
  tip.style.setProperty("--x", `${Math.min(Math.max(x, 0), canvas.clientWidth)}px`);
  tip.style.setProperty("--y", `${Math.min(Math.max(y, 0), canvas.clientHeight)}px`);
  tip.classList.toggle("left", x > canvas.clientWidth / 2);
  tip.classList.toggle("above", y > canvas.clientHeight / 2);
}

function choose(point, spoken = true) {
  current = point;
  draw();
  place();
  if (spoken) say();
}

function say() {
  const picked = state.picks.has(current.item_id) ? "Picked." : "Enter picks it.";
  status.textContent = `${titleOf(current)}${current.year ? `, ${current.year}` : ""}. ${current.genres.join(", ")}. ${picked}`;
}

function nearest(x, y, within) {
  let [best, least] = [null, within];
  for (const point of points) {
    const [px, py] = at(point);
    const away = Math.hypot(px - x, py - y);
    if (away < least) [best, least] = [point, away];
  }
  return best;
}

function moved(event) {
  if (drag && event.buttons) {
    const [right, down] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.far && Math.hypot(right, down) < 5) return;
    drag = { x: event.clientX, y: event.clientY, far: true };
    const [across, up] = scales();
    see(view.x - right / across, view.y + down / up, view.zoom);
    return;
  }
  const found = nearest(event.offsetX, event.offsetY, 16);
  if (found && found !== current) choose(found);
}

function released(event) {
  const found = drag && !drag.far ? nearest(event.offsetX, event.offsetY, 20) : null;
  drag = null;
  if (!found) return;
  choose(found, false);
  pick();
}

function pick() {
  state.toggle(current);
  say();
}

function walked(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const acts = { Enter: pick, " ": pick, "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), Home: () => see(box.x, box.y, 1) };
  const act = ARROWS[event.key] ? () => step(...ARROWS[event.key]) : acts[event.key];
  if (!act || points.length === 0) return;
  event.preventDefault();
  current ??= points[0];
  act();
}

/** Goes to the nearest point in a direction; what lies aside counts double. */
function step(right, up) {
  const [x, y] = at(current);
  let [best, least] = [null, Infinity];
  for (const point of points) {
    const [px, py] = at(point);
    const along = (px - x) * right - (py - y) * up;
    const aside = Math.abs((px - x) * up) + Math.abs((py - y) * right);
    if (along > 0.5 && aside <= 2 * along && along + 2 * aside < least) [best, least] = [point, along + 2 * aside];
  }
  if (!best) return;
  const [bx, by] = at(best);
  const outside = bx < 0 || by < 0 || bx > canvas.clientWidth || by > canvas.clientHeight;
  choose(best);
  if (outside) see(best.x, best.y, view.zoom);
}

function folded(text) {
  return text.normalize("NFKD").toLowerCase().replace(/\p{Mn}/gu, "");
}

function find() {
  const words = folded(search.value).split(/\s+/).filter(Boolean);
  if (words.length === 0) return;
  const found = points.find((point) => words.every((word) => folded(point.title ?? String(point.item_id)).includes(word)));
  if (!found) {
    status.textContent = "No film on the map has all these words.";
    return;
  }
  choose(found);
  see(found.x, found.y, Math.max(view.zoom, 4));
}
