// How an item looks, wherever it stands.

import { h } from "./dom.js";

// Hues a reader can tell apart; genres that are not here get one by their letters.
const HUES = {
  Action: 27, Adventure: 145, Animation: 205, Children: 115, Comedy: 85, Crime: 335, Documentary: 180, Drama: 260,
  Fantasy: 310, "Film-Noir": 275, Horror: 300, IMAX: 190, Musical: 345, Mystery: 285, Romance: 5, "Sci-Fi": 230,
  Thriller: 15, War: 50, Western: 65,
};

/** Returns the hue of a genre, in degrees. */
export function hue(genre) {
  if (!genre) return 260;
  if (Object.hasOwn(HUES, genre)) return HUES[genre];
  return [...genre].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}

/** Returns a title as people say it, without the year: `Matrix, The (1999)` is `The Matrix`. */
export function titleOf(item) {
  if (item.title === null) return String(item.item_id);
  const year = item.year ?? /\((\d{4})\)$/.exec(item.title)?.[1];
  const bare = item.title.endsWith(` (${year})`) ? item.title.slice(0, -` (${year})`.length) : item.title;
  return bare.replace(/^(.+?), (The|An?)( \(.*\))?$/, "$2 $1$3");
}

/** Returns the small poster of an item: its genres as colours, its year as text. */
export function poster(item) {
  const [first, second] = [item.genres[0], item.genres[1] ?? item.genres[0]];
  const text = item.year ? `’${String(item.year).slice(-2)}` : ([...titleOf(item)][0] ?? "");
  return h("span", { class: "poster", "aria-hidden": "true", "--one": hue(first), "--two": hue(second) + 20 }, text);
}

/** Returns title, year and genres of an item; `heading` is the element its title stands in. */
export function facts(item, heading = "span") {
  const year = item.year ? String(item.year) : "";
  const genres = item.genres.slice(0, 3).join(", ");
  return [
    h(heading, { class: "title" }, titleOf(item)),
    h("span", { class: "meta" }, [year, genres].filter(Boolean).join(" · ")),
  ];
}

/** Returns why an item is suggested to somebody, called `you` or `they`; or null. */
export function reasons(item, somebody = "you") {
  if (item.because.length === 0) return item.placed ? h("p", { class: "why" }, "New here: placed by its genres.") : null;
  const named = item.because.flatMap((liked, place) => [
    place === 0 ? "" : place === item.because.length - 1 ? " and " : ", ",
    h("cite", {}, titleOf(liked)),
  ]);
  return h("p", { class: "why" }, `Because ${somebody} liked `, named);
}

/** Returns a paragraph for what went wrong, or what there is to know. */
export const notice = (...content) => h("p", { class: "notice" }, content);

/** Returns what to say of an error, with a button that does it again, unless that is in vain. */
export function failed(error, again) {
  if (error.refused) return [error.message];
  return [`${error.message} `, h("button", { type: "button", class: "quiet", onclick: () => again() }, "Try again")];
}
