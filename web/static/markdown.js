// An answer as nodes, of which only those are touched that have changed.

import { become } from "./dom.js";
import { Drawing, isBlock } from "./drawing.js";
import { Formulas, openFormula } from "./formulas.js";
import { headOf, joined, partsOf, redrawn, without } from "./parts.js";

export { safeAddress } from "./drawing.js";

const SLICE = 8_000; // characters that are drawn at once; the rest follows in tasks of its own
const OPEN = 2; // blocks, items or rows at the end that may still change

/** An answer in `place`, which may grow. What has not changed keeps its nodes, and so its selection. */
export class Markdown {
  #place;
  #tools;
  #formulas = new Formulas();
  #blocks = []; // each `{ token, raw, key, node }`
  #settled; // what is never looked at again, as long as the text only grows
  #links = {}; // all definitions of links
  #goal = { text: "", isWhole: true };
  #reached = 0; // characters of it that are drawn
  #frame = 0;
  #timer = 0;
  #ready = 0;
  #done = null; // is called when all is drawn

  constructor(place, tools) {
    this.#place = place;
    this.#tools = tools;
    this.#unsettle();
  }

  /** Shows a text that is still being written: soon, and with its loose ends tied. */
  grow(text) {
    this.#goal = { text: even(text), isWhole: false };
    this.#frame ||= requestAnimationFrame((now) => this.#draw(now));
  }

  /** Shows the whole text, now, or if it is long as much of it as takes no time. What is returned ends with the rest. */
  show(text) {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = 0;
    this.#goal = { text: even(text), isWhole: true };
    return new Promise((done) => {
      this.#done?.();
      this.#done = done;
      this.#go();
    });
  }

  #go() {
    if (this.#advance()) {
      this.#done?.();
      this.#done = null;
    } else this.#timer = setTimeout(() => (this.#go(), this.#tools.drawn?.()));
  }

  #draw(now) {
    this.#frame = 0;
    if (this.#goal.isWhole) return;
    let isAll = false;
    if (now >= this.#ready) {
      const began = performance.now();
      isAll = this.#advance();
      this.#tools.drawn?.();
      this.#ready = now + 4 * (performance.now() - began); // a slow text leaves most of the time to its reader
    }
    if (!isAll) this.#frame = requestAnimationFrame((later) => this.#draw(later));
  }

  /** Draws another slice. True if it was the last one. */
  #advance() {
    const { text, isWhole } = this.#goal;
    if (!text.startsWith(this.#settled.text)) this.#unsettle();
    const from = Math.max(this.#reached, this.#settled.text.length);
    const isLast = text.length <= from + SLICE;
    const line = text.lastIndexOf("\n", from + SLICE) + 1;
    this.#reached = isLast ? text.length : line > from ? line : from + SLICE;
    this.#update(text.slice(0, this.#reached), isWhole && isLast);
    return isLast;
  }

  #unsettle() {
    // `within`: what is settled of the list or table that comes next.
    this.#settled = { text: "", blocks: 0, links: {}, within: null };
    this.#reached = 0;
  }

  #update(text, isWhole) {
    const { text: above, blocks: count, links, within } = this.#settled;
    const rest = text.slice(above.length);
    const hidden = this.#formulas.hidden(isWhole ? rest : mended(rest));
    const drawing = this.#drawing((within ? headOf(within) : "") + hidden, links);
    const tokens = within ? joined(within, drawing.tokens) : drawing.tokens;
    if (!tokens) {
      this.#unsettle();
      this.#update(text, isWhole);
      return;
    }
    const blocks = tokens.filter(isBlock);
    blocks.forEach((token, at) => this.#show(token, count + at, drawing));
    for (const surplus of this.#blocks.splice(count + blocks.length)) surplus.node.remove();
    this.#link(drawing);
    this.#settle(tokens, hidden, rest);
  }

  #drawing(source, links) {
    return new Drawing(source, { tools: this.#tools, formulas: this.#formulas, links });
  }

  /** Shows a block in its place, where the same one, an older form of it or another one may stand. */
  #show(token, at, drawing) {
    const shown = this.#blocks[at];
    if (shown && isSame(shown.token, token)) {
      shown.token = token;
      return;
    }
    const node = shown ? redrawn(shown, token, drawing) : drawing.block(token);
    if (!shown) this.#place.append(node);
    this.#blocks[at] = { token, node };
  }

  /** Draws anew what names links that are defined elsewhere now, or no longer. */
  #link(drawing) {
    const { links } = drawing;
    const labels = Object.keys({ ...this.#links, ...links }).filter(
      (label) => JSON.stringify(links[label]) !== JSON.stringify(this.#links[label]),
    );
    this.#links = { ...links };
    if (!labels.length) return;
    const names = labels.map((label) => (/\s/.test(label) ? "[" : label.toLowerCase()));
    for (const block of this.#blocks) {
      const raw = block.token.raw.includes("[") ? block.token.raw.toLowerCase() : "";
      if (names.some((name) => raw.includes(name))) block.node = become(block.node, drawing.anew(block.token));
    }
  }

  /** Notes what cannot change any more, if the text goes on: all but the last blocks, items of a list, or rows. */
  #settle(tokens, hidden, rest) {
    const { text, blocks, links, within: before } = this.#settled;
    let open = OPEN;
    let at = tokens.length;
    while (at > 0 && open > 0 && (partsOf(tokens[at - 1])?.length ?? 0) <= open) {
      at--;
      if (isBlock(tokens[at])) open -= partsOf(tokens[at])?.length ?? 1;
    }
    // Of the one before, parts may still be open.
    const within = at > 0 && open > 0 ? without(tokens[--at], open) : null;
    const whole = tokens.slice(0, at);
    const raw = [...whole, ...(within ? [within] : [])].map((token) => token.raw).join("");
    const fresh = raw.slice(before?.raw.length ?? 0);
    const written = this.#formulas.written(fresh);
    if (!fresh || !hidden.startsWith(fresh) || !rest.startsWith(written)) return;
    this.#settled = {
      text: text + written,
      blocks: blocks + whole.filter(isBlock).length,
      links: { ...definedIn(whole), ...links },
      within,
    };
  }
}

function even(text) {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

function isSame(one, other) {
  return one.type === other.type && one.raw === other.raw && one.loose === other.loose;
}

/** The definitions of links in some blocks, of which the first ones count. */
function definedIn(tokens) {
  const links = Object.create(null);
  for (const { type, tag, href, title, tokens: within, items } of tokens) {
    if (type === "def") links[tag] ??= { href, title };
    else if (within || items) Object.assign(links, { ...definedIn(within ?? items), ...links });
  }
  return links;
}

/** A text that breaks off anywhere, as it will probably go on: no half links, no stars that end nothing. */
export function mended(text) {
  let open = null; // the fence that the end of the text is in
  for (const [, fence] of text.matchAll(/^ {0,3}(`{3,}|~{3,})[^\n]*$/gm)) {
    if (!open) open = fence;
    else if (fence[0] === open[0] && fence.length >= open.length) open = null;
  }
  if (open) return text.replace(/\n {0,3}[`~]{1,2}$/, "\n");
  const start = text.lastIndexOf("\n\n") + 1;
  let end = text.slice(start);
  const formula = openFormula(end);
  if (formula >= 0) return text.slice(0, start) + end.slice(0, formula);
  // What a line will be is not known yet.
  end = end.replace(/(^|\n) {0,3}(?:[-=*+#>]+|`{1,2}|~{1,2}|\d{1,3}[.)]?) ?$/, "$1");
  end = end.replace(/^([ \t]*(?:[-*+]|\d+[.)]) )\[[ xX]?\]?$/m, "$1");
  end = end.replace(/(^|\n)[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?\[[^\]\n]+\]:[^\n]*$/, "$1");
  end = end.replace(/!?\[([^[\]\n]*)(?:\](?:\([^()\s]*)?)?$/, "$1");
  end = end.replace(/<\/?(?:s(?:u[bp]?)?|b(?:r ?\/?)?)?$/i, "");
  const plain = new Formulas().hidden(end); // in which stars and ticks of formulas do not count
  if (count(plain, "`") % 2) return text.slice(0, start) + (end.endsWith("`") ? end.slice(0, -1) : `${end}\``);
  const isOpen = count(plain, "*") % 2 || count(plain, "**") % 2;
  if (isOpen) end = end.replace(/(^|[^*])\*{1,3}$/, "$1");
  const isBold = count(new Formulas().hidden(end), "**") % 2;
  if (isBold) end = /\s$/.test(end) ? `${end.trimEnd()}**` : `${end}**`;
  const [, tag] = /<(su[bp])>[^<\n]*$/i.exec(end.slice(-100)) ?? [];
  return text.slice(0, start) + (tag ? `${end}</${tag}>` : end);
}

function count(text, what) {
  return text.split(what).length - 1;
}
