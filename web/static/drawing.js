// Markdown as nodes. The lexer only finds out what is what; every node is made here, from a short list of kinds.

import { copy, h } from "./dom.js";
import { decoded } from "./entities.js";
import { codeNode, formulaNode } from "./lazy.js";
import { Lexer, Tokenizer } from "./vendor/marked.esm.js";

const PROTOCOLS = new Set(["http:", "https:", "mailto:", "tel:"]);
const DEEPEST = 24; // lists in lists in quotes; beyond, lexing takes seconds or the stack
const LONGEST_WORD = 2000; // what has no space in it is matched in quadratic time
const LONGEST_LINES = 30_000; // characters of a paragraph in which marks mean something
const WIDE_GAP = /( {100}) +/g; // and so are spaces; more of them look no different
const LONGEST_TITLE = 2000; // characters of a heading that is one by the line below it
const WIDE_CELL = 24; // characters of a cell that may be broken into lines
const MOST_WITHIN_TAGS = 20; // pieces between <sub> and </sub>
const MOST_LOOKED_AT = 1000; // characters that tell which way a text runs
const RTL = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/gu;
const LTR = /[\p{L}--[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]]/gv;

/** Looks for the line below a heading nearby only: in a list it is looked for from every line. */
class NearTokenizer extends Tokenizer {
  lheading(text) {
    const near = text.length > LONGEST_TITLE ? text.slice(0, text.lastIndexOf("\n", LONGEST_TITLE) + 1) : text;
    return this.rules.block.lheading.test(near) ? super.lheading(text) : undefined;
  }
}

/** A piece of an answer, read: its `tokens` and the definitions of `links` in it, and the nodes of each token. */
export class Drawing {
  #lexer = new Lexer({ gfm: true, breaks: true, tokenizer: new NearTokenizer() });
  #inline = new Map();
  #tools;
  #formulas;
  #reread;

  /** `text` is as `formulas` have hidden it, and `links` are definitions that stand above. */
  constructor(text, { tools, formulas, links }) {
    this.#tools = tools;
    this.#formulas = formulas;
    this.#reread = (raw) => new Drawing(raw, { tools, formulas, links: this.links });
    Object.assign(this.#lexer.tokens.links, links);
    try {
      if (isTooDeep(text)) throw new RangeError("too deep");
      this.tokens = this.#lexer.blockTokens(text, this.#lexer.tokens);
      // Looking into the lines is most of the work, so it is done only for blocks that are drawn anew.
      for (const { src, tokens } of this.#lexer.inlineQueue) this.#inline.set(tokens, src);
    } catch {
      this.tokens = [{ type: "plain", raw: text }];
    }
  }

  get links() {
    return this.#lexer.tokens.links;
  }

  /** A block as a node of its own. */
  block(token) {
    return this.#sane(token, () => this.#block(token, 0));
  }

  /** A block as a node of its own, read once more: of what was not drawn the lines were never looked into. */
  anew({ raw }) {
    const drawing = this.#reread(raw);
    return drawing.block(drawing.tokens.find(isBlock));
  }

  /** An item of a list. */
  item(item, list) {
    return this.#sane(item, () => this.#item(item, list, 0), (plain) => h("li", {}, plain));
  }

  /** A row of a table. */
  row(cells, { align }) {
    const raw = cells.map(({ text }) => text).join(" | ");
    return this.#sane({ raw }, () => this.#row(cells, align, "td", 0), (plain) => h("tr", {}, h("td", {}, plain)));
  }

  #sane({ raw }, draw, wrapped = (plain) => plain) {
    try {
      return draw();
    } catch {
      return wrapped(this.#plain(raw));
    }
  }

  #block(token, depth) {
    if (depth > 2 * DEEPEST) return this.#plain(token.raw);
    switch (token.type) {
      case "paragraph":
      case "text":
        return h("p", { dir: directionOf(token.raw) ?? (depth ? null : "auto") }, ...this.#lines(token, depth));
      case "heading":
        return h(
          `h${Math.min(token.depth + 2, 6)}`,
          { dir: directionOf(token.raw) ?? (depth ? null : "auto") },
          ...this.#lines(token, depth),
        );
      case "code":
        return this.#code(token);
      case "blockquote":
        return h("blockquote", { dir: directionOf(token.raw) }, ...this.#blocks(token.tokens, depth));
      case "list":
        return h(
          token.ordered ? "ol" : "ul",
          listAttributes(token),
          ...token.items.map((item) => this.#item(item, token, depth)),
        );
      case "table":
        return this.#table(token, depth);
      case "hr":
        return h("hr");
      case "html":
        return /^(?:\s*<br\s*\/?>)+\s*$/i.test(token.raw) ? h("p", {}, h("br")) : this.#plain(token.raw);
      default:
        return this.#plain(token.raw);
    }
  }

  #blocks(tokens, depth) {
    return tokens.filter(isBlock).map((token) => this.#block(token, depth + 1));
  }

  #code({ lang, text }) {
    const { words, announce } = this.#tools;
    const language = decoded(this.#written(lang || "")).split(/\s/)[0].slice(0, 30);
    const code = codeNode(this.#written(text), language);
    const button = h("button", { type: "button", class: "copy" }, words.copy);
    copies(button, { words, announce, text: () => code.textContent });
    return h(
      "div",
      { class: "code" },
      h("div", { class: "code-head" }, h("span", {}, language || words.code), button),
      h("pre", { tabindex: "0", dir: "ltr", role: "group", "aria-label": language || words.code }, code),
    );
  }

  #item(item, list, depth) {
    const { loose } = list;
    const nodes = item.tokens
      .filter(isBlock)
      .flatMap((token) => {
        if (token.type === "checkbox") return [this.#checkbox(token)];
        if (token.type === "text" && !loose) return this.#lines(token, depth);
        return [this.#block(token, depth + 1)];
      });
    const own = directionOf(item.raw);
    const isTurned = own && own !== (list.direction ??= directionOf(list.raw));
    return h("li", { class: classes(item.task && "task", isTurned && "turned") }, ...nodes);
  }

  #checkbox({ checked }) {
    const { words } = this.#tools;
    const label = checked ? words.done : words.open;
    return h("span", { class: "box", role: "img", "aria-label": label }, checked ? "☑" : "☐");
  }

  #table(table, depth) {
    const { header, rows, align } = table;
    return h(
      "div",
      { class: "table", tabindex: "0", role: "group", "aria-label": this.#tools.words.table, dir: tableDirection(table) },
      h(
        "table",
        {},
        h("thead", {}, this.#row(header, align, "th", depth)),
        h("tbody", {}, ...rows.map((row) => this.#row(row, align, "td", depth))),
      ),
    );
  }

  #row(cells, align, tag, depth) {
    const drawn = cells.map((given, column) => {
      const look = classes(given.text.length > WIDE_CELL && "wide", align[column] && `to-${align[column]}`);
      return h(tag, { dir: directionOf(given.text), class: look }, ...this.#lines(given, depth));
    });
    return h("tr", {}, ...drawn);
  }

  /** What stands in the lines of a block. */
  #lines(block, depth) {
    const source = this.#inline.get(block.tokens);
    if (source !== undefined) {
      this.#inline.delete(block.tokens);
      if (source.length > LONGEST_LINES || hasLongWord(source)) return this.#unread(source);
      this.#lexer.state.inRawBlock = false;
      this.#lexer.state.inLink = false;
      this.#lexer.inlineTokens(source.replace(WIDE_GAP, "$1"), block.tokens);
    }
    return block.tokens ? this.#inlines(block.tokens, depth, false) : this.#text(block.raw);
  }

  /** Lines as they are written. */
  #unread(source) {
    return this.#written(source).split("\n").flatMap((line, at) => (at ? [h("br"), line] : [line]));
  }

  #inlines(tokens, depth, inLink) {
    const nodes = [];
    for (let at = 0; at < tokens.length; at++) {
      const token = tokens[at];
      const [, tag] = token.type === "html" ? /^<(su[bp])>$/i.exec(token.raw) ?? [] : [];
      const near = tag ? tokens.slice(at + 1, at + MOST_WITHIN_TAGS) : [];
      const end = near.findIndex(({ raw }) => raw.toLowerCase() === `</${tag.toLowerCase()}>`);
      if (end >= 0) {
        nodes.push(h(tag.toLowerCase(), {}, ...this.#inlines(near.slice(0, end), depth + 1, inLink)));
        at += end + 1;
      } else nodes.push(...this.#one(token, depth + 1, inLink));
    }
    return nodes;
  }

  #one(token, depth, inLink) {
    if (depth > 4 * DEEPEST) return [this.#written(token.raw)];
    const within = (isLink = inLink) => this.#inlines(token.tokens, depth, isLink);
    switch (token.type) {
      case "text":
        return this.#text(token.raw);
      case "escape":
        return [token.text];
      case "strong":
        return [h("strong", {}, ...within())];
      case "em":
        return [h("em", {}, ...within())];
      case "del":
        return [h("del", {}, ...within())];
      case "codespan":
        return [h("code", { dir: "auto" }, this.#written(token.text))];
      case "br":
        return [h("br")];
      case "checkbox":
        return [this.#checkbox(token)];
      case "link": {
        const address = inLink ? null : safeAddress(this.#written(token.href));
        return address ? [link(address, within(true))] : within();
      }
      case "image": {
        const label = decoded(this.#written(token.text)) || this.#tools.words.image;
        const address = inLink ? null : safeAddress(this.#written(token.href));
        return address ? [link(address, [`🖼 ${label}`])] : [label];
      }
      case "html":
        return /^<br\s*\/?>$/i.test(token.raw) ? [h("br")] : [this.#written(token.raw)];
      default:
        return [this.#written(token.raw)];
    }
  }

  /** A text, and the formulas in it. */
  #text(raw) {
    return this.#formulas.parts(raw).map((part) => (typeof part === "string" ? decoded(part) : formulaNode(part)));
  }

  #written(text) {
    return this.#formulas.written(text);
  }

  #plain(raw) {
    return h("p", { class: "plain", dir: "auto" }, this.#written(raw));
  }
}

export function isBlock({ type }) {
  return type !== "space" && type !== "def";
}

export function listAttributes({ ordered, start, raw }) {
  const first = ordered && start !== 1 && Number.isSafeInteger(start) ? start : null;
  return { dir: directionOf(raw), start: first };
}

/** Which way the columns of a table run. */
export function tableDirection({ header, rows }) {
  return directionOf([header, ...rows.slice(0, 10)].map((row) => row.map(({ text }) => text).join(" ")).join(" "));
}

/** A button that copies a text, and says whether it has. */
export function copies(button, { words, announce, text }) {
  const name = button.textContent;
  let turning;
  button.addEventListener("click", async () => {
    const done = await copy(text(), button);
    button.textContent = done ? words.copied : words.notCopied;
    announce(button.textContent);
    clearTimeout(turning);
    turning = setTimeout(() => (button.textContent = name), 2000);
  });
}

function classes(...names) {
  return names.filter(Boolean).join(" ") || null;
}

function link(address, children) {
  // What leads elsewhere on this website stays in this tab.
  const target = new URL(address).origin === location.origin ? null : "_blank";
  return h("a", { href: address, target, rel: "noopener noreferrer nofollow ugc" }, ...children);
}

/** The address that somebody may be sent to, or null. A relative one means a page of the website around us. */
export function safeAddress(href) {
  const given = decoded(href);
  try {
    if (/^[\s\\/]*$|^\s*[\\/]{2}/.test(given.slice(0, 100))) return null;
    const address = new URL(given, document.baseURI);
    return PROTOCOLS.has(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

/** "rtl" or "ltr", as most of a text runs: what begins with a foreign name runs as the rest does. Null without letters. */
export function directionOf(text) {
  const seen = text.slice(0, MOST_LOOKED_AT);
  const rtl = seen.match(RTL)?.length ?? 0;
  const ltr = seen.match(LTR)?.length ?? 0;
  if (!rtl || !ltr) return rtl ? "rtl" : ltr ? "ltr" : null;
  const weight = seen.search(RTL) < seen.search(LTR) ? 3 : 1; // names and code in other letters are long
  return weight * rtl > ltr ? "rtl" : "ltr";
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
