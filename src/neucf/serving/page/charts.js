// Charts as SVG: an interval on a scale, and a learning curve.

import { svg } from "./dom.js";

const METRICS = { ndcg: "nDCG", mrr: "MRR", map: "MAP" };

/** Returns nDCG@20 for ndcg@20. */
export const metricTitle = (key) => key.replace(/^[a-z]+/, (name) => METRICS[name] ?? name[0].toUpperCase() + name.slice(1));

/** Returns a bar to a mean with its interval, on a scale from 0 to `top`. */
export function interval({ mean, ci95 }, top) {
  const [width, height] = [480, 28];
  const x = (value) => (value / top) * (width - 4);
  const [low, high] = ci95 ?? [mean, mean];
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "interval", "aria-hidden": "true" },
    svg("rect", { class: "track", x: 0, y: 11, width, height: 6, rx: 3 }),
    svg("rect", { class: "bar", x: 0, y: 11, width: Math.max(x(mean), 1), height: 6, rx: 3 }),
    ci95 ? svg("path", { class: "whisker", d: `M${x(low)} 6v16M${x(low)} 14H${x(high)}M${x(high)} 6v16` }) : null,
    svg("circle", { class: "mean", cx: x(mean), cy: 14, r: 5 }));
}

/** Returns the curve of a metric over epochs, with the loss, on a scale of its own, behind it. */
export function curve(points, top, label) {
  const [width, height, left, right, foot] = [320, 170, 52, 12, 26];
  const last = Math.max(...points.map((point) => point.epoch), 1);
  const first = Math.min(...points.map((point) => point.epoch));
  const x = (epoch) => left + ((epoch - first) / Math.max(last - first, 1)) * (width - left - right);
  const y = (share) => 10 + (1 - share) * (height - foot - 10);
  const judged = points.filter((point) => point.value !== null);
  const losses = points.filter((point) => point.loss !== null);
  const [least, most] = [Math.min(...losses.map((each) => each.loss)), Math.max(...losses.map((each) => each.loss))];
  const best = judged.reduce((top, each) => (top && top.value >= each.value ? top : each), null);
  const line = (rows, share) => rows.map((row, place) => `${place ? "L" : "M"}${x(row.epoch).toFixed(1)} ${y(share(row)).toFixed(1)}`).join("");
  const text = (attributes, words) => svg("text", attributes, words);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": label },
    [0, 0.5, 1].map((share) => [
      svg("path", { class: "grid", d: `M${left} ${y(share)}H${width - right}` }),
      text({ x: left - 6, y: y(share) + 4, "text-anchor": "end" }, Number((share * top).toPrecision(2))),
    ]),
    text({ x: left, y: height - 6 }, `epoch ${first}`),
    text({ x: width - right, y: height - 6, "text-anchor": "end" }, String(last)),
    losses.length > 1 ? svg("path", { class: "loss", d: line(losses, (row) => (row.loss - least) / Math.max(most - least, 1e-12)) }) : null,
    judged.length > 1 ? svg("path", { class: "value", d: line(judged, (row) => row.value / top) }) : null,
    judged.map((row) => svg("circle", { class: row === best ? "best" : "dot", cx: x(row.epoch), cy: y(row.value / top), r: row === best ? 5 : 2.5 })));
}
