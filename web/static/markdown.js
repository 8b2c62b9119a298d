// Markdown as nodes. The lexer only finds out what is what; every node is made here, from a short list of kinds.

import { copy, h } from "./dom.js";
import { decoded } from "./entities.js";
import { Lexer, Tokenizer } from "./vendor/marked.esm.js";

const PROTOCOLS = new Set(["http:", "https:", "mailto:"]);
const DEEPEST = 24; // lists in lists in quotes; beyond, lexing takes seconds or the stack
const LONGEST_WORD = 2000; // what has no space in it is matched in quadratic time
const WIDE_GAP = /( {100}) +/g; // and so are spaces; more of them look no different
const LONGEST_TITLE = 2000; // characters of a heading that is one by the line below it

/** An answer in `place`, which may grow. What has not changed keeps its nodes, and so its selection. */
export class Markdown {
  #place;
  #tools;
  #blocks = [];
  #links = "";
  #frame = 0;
  #waiting = null;
  #ready = 0;

  constructor(place, tools) {
    this.#place = place;
    this.#tools = tools;
  }

  /** Shows a text that is still being written: soon, and with its loose ends tied. */
  grow(text) {
    this.#waiting = text;
    this.#frame ||= requestAnimationFrame((now) => this.#draw(now));
  }

  /** Shows the whole text, now. */
  show(text) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#waiting = null;
    this.#update(text);
  }

  #draw(now) {
    this.#frame = 0;
    if (this.#waiting === null) return;
    if (now < this.#ready) {
      this.#frame = requestAnimationFrame((later) => this.#draw(later));
      return;
    }
    const began = performance.now();
    this.#update(mended(this.#waiting));
    const took = performance.now() - began;
    this.#waiting = null;
    this.#ready = now + 4 * took; // a text that is slow to draw leaves most of the time to its reader
    this.#tools.drawn?.();
  }

  #update(text) {
    const drawing = new Drawing(text, this.#tools);
    const blocks = drawing.blocks();
    const { links } = drawing;
    const isLinkedAnew = links !== this.#links;
    this.#links = links;
    blocks.forEach((block, at) => {
      const shown = this.#blocks[at];
      if (shown?.key === block.key && !(isLinkedAnew && block.mayLink)) {
        block.node = shown.node;
      } else if (shown && extended(shown, block)) {
        block.node = shown.node;
      } else {
        block.node = drawing.block(block.token);
        if (shown) shown.node.replaceWith(block.node);
        else this.#place.append(block.node);
      }
      this.#blocks[at] = block;
    });
    for (const surplus of this.#blocks.splice(blocks.length)) surplus.node.remove();
  }
}

/** Code that only got longer keeps its node. */
function extended(shown, block) {
  const [before, after] = [shown.token, block.token];
  if (before.type !== "code" || after.type !== "code" || before.lang !== after.lang) return false;
  if (!after.text.startsWith(before.text)) return false;
  shown.node.querySelector("code").append(after.text.slice(before.text.length));
  return true;
}

/** Looks for the line below a heading nearby only: in a list it is looked for from every line. */
class NearTokenizer extends Tokenizer {
  lheading(text) {
    const near = text.length > LONGEST_TITLE ? text.slice(0, text.lastIndexOf("\n", LONGEST_TITLE) + 1) : text;
    return this.rules.block.lheading.test(near) ? super.lheading(text) : undefined;
  }
}

class Drawing {
  #lexer = new Lexer({ gfm: true, breaks: true, tokenizer: new NearTokenizer() });
  #inline = new Map();
  #tools;
  #tokens;

  constructor(text, tools) {
    this.#tools = tools;
    try {
      if (isTooDeep(text)) throw new RangeError("too deep");
      this.#tokens = this.#lexer.blockTokens(text.replace(/\r\n?/g, "\n"), this.#lexer.tokens);
      // Looking into the lines is most of the work, so it is done only for blocks that are drawn anew.
      for (const { src, tokens } of this.#lexer.inlineQueue) this.#inline.set(tokens, src);
    } catch {
      this.#tokens = [{ type: "plain", raw: text }];
    }
  }

  blocks() {
    return this.#tokens
      .filter(({ type }) => type !== "space" && type !== "def")
      .map((token) => ({ token, key: `${token.type} ${token.raw}`, mayLink: token.raw.includes("[") }));
  }

  /** All definitions of links. */
  get links() {
    return JSON.stringify(this.#lexer.tokens.links);
  }

  block(token) {
    try {
      return this.#block(token, 0);
    } catch {
      return plain(token.raw);
    }
  }

  #block(token, depth) {
    if (depth > 2 * DEEPEST) return plain(token.raw);
    switch (token.type) {
      case "paragraph":
        return h("p", { dir: "auto" }, ...this.#lines(token, depth));
      case "text":
        return h("p", { dir: "auto" }, ...this.#lines(token, depth));
      case "heading":
        return h(`h${Math.min(token.depth + 2, 6)}`, { dir: "auto" }, ...this.#lines(token, depth));
      case "code":
        return this.#code(token);
      case "blockquote":
        return h("blockquote", { dir: "auto" }, ...this.#blocks(token.tokens, depth));
      case "list":
        return this.#list(token, depth);
      case "table":
        return this.#table(token, depth);
      case "hr":
        return h("hr");
      default:
        return plain(token.raw);
    }
  }

  #blocks(tokens, depth) {
    return tokens
      .filter(({ type }) => type !== "space" && type !== "def")
      .map((token) => this.#block(token, depth + 1));
  }

  #code({ lang, text }) {
    const { words, announce } = this.#tools;
    const language = decoded(lang || "").split(/\s/)[0].slice(0, 30);
    const code = h("code", {}, text);
    const button = h("button", { type: "button", class: "copy" }, words.copy);
    let turning;
    button.addEventListener("click", async () => {
      const done = await copy(code.textContent, button);
      button.textContent = done ? words.copied : words.notCopied;
      announce(button.textContent);
      clearTimeout(turning);
      turning = setTimeout(() => (button.textContent = words.copy), 2000);
    });
    return h(
      "div",
      { class: "code" },
      h("div", { class: "code-head" }, h("span", {}, language || words.code), button),
      h("pre", { tabindex: "0", dir: "ltr", role: "region", "aria-label": language || words.code }, code),
    );
  }

  #list({ ordered, start, items, loose }, depth) {
    const first = ordered && start !== 1 && Number.isSafeInteger(start) ? start : null;
    return h(
      ordered ? "ol" : "ul",
      { dir: "auto", start: first },
      ...items.map((item) => h("li", { class: item.task ? "task" : null }, ...this.#item(item, loose, depth))),
    );
  }

  #item(item, loose, depth) {
    return item.tokens
      .filter(({ type }) => type !== "space" && type !== "def")
      .flatMap((token) => {
        if (token.type === "checkbox") return [this.#checkbox(token)];
        if (token.type === "text" && !loose) return this.#lines(token, depth);
        return [this.#block(token, depth + 1)];
      });
  }

  #checkbox({ checked }) {
    const { words } = this.#tools;
    const label = checked ? words.done : words.open;
    return h("span", { class: "box", role: "img", "aria-label": label }, checked ? "☑" : "☐");
  }

  #table({ header, rows, align }, depth) {
    const cell = (tag) => (given, column) => {
      const side = align[column] ? `to-${align[column]}` : null;
      return h(tag, { dir: "auto", class: side }, ...this.#lines(given, depth, { inTable: true }));
    };
    return h(
      "div",
      { class: "table", tabindex: "0", role: "region", "aria-label": this.#tools.words.table },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...header.map(cell("th")))),
        h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map(cell("td"))))),
      ),
    );
  }

  /** What stands in the lines of a block. */
  #lines(block, depth, where = {}) {
    const source = this.#inline.get(block.tokens);
    if (source !== undefined) {
      this.#inline.delete(block.tokens);
      if (hasLongWord(source)) return [source];
      this.#lexer.state.inRawBlock = false;
      this.#lexer.state.inLink = false;
      this.#lexer.inlineTokens(source.replace(WIDE_GAP, "$1"), block.tokens);
    }
    return block.tokens ? this.#inlines(block.tokens, depth, where) : [decoded(block.raw)];
  }

  #inlines(tokens, depth, where) {
    return tokens.flatMap((token) => this.#one(token, depth + 1, where));
  }

  #one(token, depth, where) {
    if (depth > 4 * DEEPEST) return [token.raw];
    const within = (more) => this.#inlines(token.tokens, depth, { ...where, ...more });
    switch (token.type) {
      case "text":
        return [decoded(token.raw)];
      case "escape":
        return [token.text];
      case "strong":
        return [h("strong", {}, ...within())];
      case "em":
        return [h("em", {}, ...within())];
      case "del":
        return [h("del", {}, ...within())];
      case "codespan":
        return [h("code", { dir: "auto" }, token.text)];
      case "br":
        return [h("br")];
      case "checkbox":
        return [this.#checkbox(token)];
      case "link": {
        const address = where.inLink ? null : safeAddress(token.href);
        return address ? [link(address, within({ inLink: true }))] : within();
      }
      case "image": {
        const label = decoded(token.text) || this.#tools.words.image;
        const address = where.inLink ? null : safeAddress(token.href);
        return address ? [link(address, [`🖼 ${label}`])] : [label];
      }
      case "html":
        // Within a table nothing else breaks a line, and so models write it there.
        if (where.inTable && /^<br\s*\/?>$/i.test(token.raw)) return [h("br")];
        return [token.raw];
      default:
        return [token.raw];
    }
  }
}

function plain(text) {
  return h("p", { class: "plain", dir: "auto" }, text);
}

function link(address, children) {
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow ugc" }, ...children);
}

/** The address that somebody may be sent to, or null. */
export function safeAddress(href) {
  try {
    const address = new URL(decoded(href));
    return PROTOCOLS.has(address.protocol) ? address.href : null;
  } catch {
    return null; // a relative one, which would mean a page of ours
  }
}

function isTooDeep(text) {
  const indents = new Set();
  for (const [, markers] of text.matchAll(/^((?:[ \t]*(?:>|[-*+]|\d{1,9}[.)])(?=[ \t>\n]|$))+)/gm)) {
    if ((markers.match(/>|[-*+]|\d[.)]/g) || []).length > DEEPEST) return true;
    indents.add(markers.search(/[^ \t]/));
    if (indents.size > DEEPEST) return true;
  }
  return /^[ \t]*(?:>[ \t]*){24}/m.test(text);
}

function hasLongWord(source) {
  return source.length > LONGEST_WORD && source.split(/\s/).some((word) => word.length > LONGEST_WORD);
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
  // What a line will be is not known yet.
  end = end.replace(/(^|\n) {0,3}(?:[-=*+#>]+|`{1,2}|~{1,2}|\d{1,3}[.)]?) ?$/, "$1");
  end = end.replace(/^([ \t]*(?:[-*+]|\d+[.)]) )\[[ xX]?\]?$/m, "$1");
  end = end.replace(/!?\[([^[\]\n]*)(?:\](?:\([^()\s]*)?)?$/, "$1");
  if (count(end, "`") % 2) return text.slice(0, start) + (end.endsWith("`") ? end.slice(0, -1) : `${end}\``);
  const isOpen = count(end, "*") % 2 || count(end, "**") % 2;
  if (isOpen) end = end.replace(/(^|[^*])\*{1,3}$/, "$1");
  if (count(end, "**") % 2) end = /\s$/.test(end) ? `${end.trimEnd()}**` : `${end}**`;
  return text.slice(0, start) + end;
}

function count(text, what) {
  return text.split(what).length - 1;
}
