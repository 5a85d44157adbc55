// The plane of the map: points on a canvas that moves and zooms, where each lies, and which is near.

import { hue } from "./films.js";

const MAX_ZOOM = 40;

export class Plane {
  /** What lies in it: items with x and y, the first drawn on top. */
  points = [];
  #canvas;
  #box = { x: 0, y: 0, across: 1, up: 1 };
  #view = { x: 0, y: 0, zoom: 1 };

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** Takes other points, and shows them all. */
  fill(points) {
    this.points = points;
    const [xs, ys] = [points.map((point) => point.x), points.map((point) => point.y)];
    const [left, right, low, high] = points.length ? [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)] : [-1, 1, -1, 1];
    this.#box = { x: (left + right) / 2, y: (low + high) / 2, across: Math.max((right - left) / 2, 1e-6), up: Math.max((high - low) / 2, 1e-6) };
    this.showAll();
  }

  showAll() {
    this.#view = { x: this.#box.x, y: this.#box.y, zoom: 1 };
  }

  /** Puts a point in the middle, at least so large. */
  show({ x, y }, zoom = 1) {
    this.#view = { x, y, zoom: Math.max(this.#view.zoom, zoom) };
  }

  /** Zooms about a place of the canvas, in CSS pixels, which stays where it is; returns whether there was room to. */
  zoom(by, x = this.#canvas.clientWidth / 2, y = this.#canvas.clientHeight / 2) {
    const before = this.#view.zoom;
    const zoom = Math.min(Math.max(before * by, 1), MAX_ZOOM);
    const moved = 1 - before / zoom;
    this.move(moved * (this.#canvas.clientWidth / 2 - x), moved * (this.#canvas.clientHeight / 2 - y));
    this.#view.zoom = zoom;
    return zoom !== before;
  }

  /** Moves what is seen by CSS pixels. */
  move(right, down) {
    const [across, up] = this.#scales();
    this.#view.x -= right / across;
    this.#view.y += down / up;
  }

  /** Returns where a point lies on the canvas, in CSS pixels. */
  at(point) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const [across, up] = this.#scales();
    return [width / 2 + (point.x - this.#view.x) * across, height / 2 - (point.y - this.#view.y) * up];
  }

  /** Returns how many CSS pixels one unit is, across and up. */
  #scales() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    return [((width / 2 - 20) / this.#box.across) * this.#view.zoom, ((height / 2 - 20) / this.#box.up) * this.#view.zoom];
  }

  /** Tells whether a point is in sight, up to a margin. */
  sees(point, margin = 0) {
    const [x, y] = this.at(point);
    return x >= -margin && y >= -margin && x <= this.#canvas.clientWidth + margin && y <= this.#canvas.clientHeight + margin;
  }

  /** Returns the point nearest to a place of the canvas; null where none is within some pixels. */
  nearest(x, y, within) {
    return this.#least((px, py) => Math.hypot(px - x, py - y), within);
  }

  /** Returns the nearest point in a direction, or null; what lies aside counts double. */
  next(point, right, up) {
    const [x, y] = this.at(point);
    return this.#least((px, py) => {
      const along = (px - x) * right - (py - y) * up;
      const aside = Math.abs((px - x) * up) + Math.abs((py - y) * right);
      return along > 0.5 && aside <= 2 * along ? along + 2 * aside : Infinity;
    }, Infinity);
  }

  #least(far, limit) {
    let [best, least] = [null, limit];
    for (const point of this.points) {
      const away = far(...this.at(point));
      if (away < least) [best, least] = [point, away];
    }
    return best;
  }

  /** Draws the points, those of one genre brighter, and rings around some. */
  draw(genre, current, picks) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    [this.#canvas.width, this.#canvas.height] = [width * ratio, height * ratio];
    const context = this.#canvas.getContext("2d");
    context.scale(ratio, ratio);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const radius = Math.min(2.5 + this.#view.zoom / 2, 7);
    const circle = (point, size) => {
      context.beginPath();
      context.arc(...this.at(point), size, 0, 2 * Math.PI);
    };
    const seen = this.points.filter((point) => this.sees(point, 9));
    for (const point of [...seen].reverse()) {
      const lit = genre ? point.genres.includes(genre) : true;
      context.globalAlpha = lit ? 0.85 : 0.12;
      context.fillStyle = `oklch(${dark ? 0.75 : 0.58} 0.16 ${hue(lit && genre ? genre : point.genres[0])})`;
      circle(point, radius);
      context.fill();
    }
    context.globalAlpha = 1;
    context.strokeStyle = getComputedStyle(this.#canvas).color;
    context.lineWidth = 2;
    for (const point of seen) {
      if (!picks.has(point.item_id) && point !== current) continue;
      circle(point, radius + (point === current ? 4 : 2));
      context.stroke();
    }
  }
}
