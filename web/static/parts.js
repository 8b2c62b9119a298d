// Lists and tables, which may be long: of one that grows only the items and rows that have changed are read and drawn.

import { become } from "./dom.js";
import { listAttributes, tableDirection } from "./drawing.js";

/** The items of a list, or the rows of a table, as they are written. Null for other blocks. */
export function partsOf(token) {
  if (token.type === "list") return token.items.map(({ raw }) => raw);
  if (token.type !== "table") return null;
  const lines = token.lines ?? token.raw.replace(/\n+$/, "").split("\n").slice(2);
  return lines.length === token.rows.length ? lines : null;
}

/** What stands above the rows of a table, without which they are none. Nothing is needed for a list. */
export function headOf({ type, raw }) {
  return type === "table" ? raw.slice(0, raw.indexOf("\n", raw.indexOf("\n") + 1) + 1) : "";
}

/** A list or a table without its last parts. Null if nothing is left. */
export function without(token, count) {
  const parts = partsOf(token).slice(0, -count);
  if (!parts.length) return null;
  if (token.type === "list") return { ...token, items: token.items.slice(0, -count), raw: parts.join("") };
  const raw = headOf(token) + parts.map((line) => `${line}\n`).join("");
  return { ...token, rows: token.rows.slice(0, -count), lines: parts, raw };
}

/** The beginning of a list or a table, and what was read from there on, as one. Null if it does not go on as it began. */
export function joined(begin, [next, ...others]) {
  if (!next) return [begin];
  if (next.type !== begin.type || next.ordered !== begin.ordered) return null;
  const raw = begin.raw + next.raw.slice(headOf(begin).length);
  const { start } = begin;
  if (next.type === "list") {
    return [{ ...next, start, raw, loose: begin.loose || next.loose, items: [...begin.items, ...next.items] }, ...others];
  }
  const lines = partsOf(next) && [...begin.lines, ...partsOf(next)];
  if (!lines) return null;
  return [{ ...next, raw, lines, rows: [...begin.rows, ...next.rows] }, ...others];
}

/** The node of `token` where `shown` was, which keeps as much of it as there is to keep. */
export function redrawn({ token: before, node }, token, drawing) {
  const isKept = before.type === token.type && before.ordered === token.ordered && partsOf(before) && partsOf(token);
  if (isKept && token.type === "list") return list(node, before, token, drawing);
  if (isKept && token.type === "table" && headOf(before) === headOf(token)) return table(node, before, token, drawing);
  return become(node, drawing.block(token));
}

function list(node, before, token, drawing) {
  const isTurned = set(node, listAttributes(token));
  if (isTurned || before.loose !== token.loose) return become(node, drawing.anew(token));
  redraw(node, partsOf(before), partsOf(token), (at) => drawing.item(token.items[at], token));
  return node;
}

function table(node, before, token, drawing) {
  set(node, { dir: tableDirection(token) });
  const body = node.querySelector("tbody");
  redraw(body, partsOf(before), partsOf(token), (at) => drawing.row(token.rows[at], token));
  return node;
}

/** Draws the children of `place` whose parts are others than before. */
function redraw(place, before, after, draw) {
  after.forEach((part, at) => {
    if (before[at] === part) return;
    const shown = place.children[at];
    const fresh = draw(at);
    if (shown) become(shown, fresh);
    else place.append(fresh);
  });
  while (place.childElementCount > after.length) place.lastElementChild.remove();
}

/** Sets attributes. True if one of them was another. */
function set(node, attributes) {
  let isOther = false;
  for (const [name, value] of Object.entries(attributes)) {
    if (node.getAttribute(name) === (value === null ? null : String(value))) continue;
    isOther = true;
    if (value === null) node.removeAttribute(name);
    else node.setAttribute(name, value);
  }
  return isOther;
}
