// A turn as people see it: a question and its answer.

import { h, icon } from "./dom.js";
import { copies } from "./drawing.js";
import { Markdown } from "./markdown.js";

const MOST_SPOKEN = 1000; // characters of an answer that are read out unasked
const BLOCKS = new Set("p h3 h4 h5 h6 li tr pre blockquote ul ol".split(" "));

/** The nodes that show a turn. */
export class Shown {
  #words;
  #parts;
  #thumbs = null; // a promise of them, once there is something to judge
  #newThumbs;
  #markdown;
  #text = null;
  #wasRunning = null;
  #shelf = null; // a promise of what shows files
  #newShelf;

  constructor(words, { retry, anew, change, announce, drawn, shelf, rate }) {
    this.#words = words;
    this.#newShelf = shelf;
    const parts = {
      question: h("p", { class: "said", dir: "auto" }),
      who: h("h2", { class: "who" }),
      answer: h("div", { class: "answer", dir: "auto" }),
      waiting: h("p", { class: "waiting" }, h("span"), h("span"), h("span")),
      note: h("p", { class: "note" }),
      sentence: h("p", { dir: "auto" }),
      retry: h("button", { type: "button", click: retry }, words.retry),
      copy: h("button", { type: "button", class: "copy" }, words.copyAnswer),
    };
    copies(parts.copy, { words, announce, text: () => this.#text });
    this.#newThumbs = async () => {
      const { Thumbs } = await import("./thumbs.js");
      const thumbs = new Thumbs({ words, announce, rate });
      parts.after.append(...thumbs.buttons, thumbs.form);
      drawn();
      return thumbs;
    };
    parts.anew = h("button", { type: "button", class: "copy", click: anew }, words.anew);
    parts.change = h("button", { type: "button", class: "copy", click: change }, words.change);
    parts.after = h("div", { class: "after" }, parts.copy, parts.anew, parts.change);
    parts.you = h("div", { class: "you" }, h("h2", { class: "unseen" }, words.you), parts.question);
    parts.trouble = h("div", { class: "trouble" }, parts.sentence, parts.retry);
    parts.reply = h("div", { class: "reply" }, parts.who, parts.answer, parts.waiting, parts.note, parts.trouble, parts.after);
    this.article = h("article", { class: "turn" }, parts.you, parts.reply);
    this.answer = parts.answer;
    this.#parts = parts;
    this.#markdown = new Markdown(parts.answer, { words, announce, drawn });
  }

  update(turn, name, mayReplace) {
    const { question, you, who, waiting, note, trouble, sentence, copy, anew, change, after } = this.#parts;
    const words = this.#words;
    const isHidden = turn.isPrivate && turn.question === null;
    const isEmpty = !turn.text.trim();
    you.hidden = turn.question === null;
    if (question.textContent !== turn.question) question.textContent = turn.question;
    question.hidden = !turn.question; // its files alone were
    this.#showFiles(turn);
    who.replaceChildren(...(turn.isPrivate ? [icon("lock")] : []), name);
    this.article.classList.toggle("private", turn.isPrivate);
    this.article.ariaBusy = turn.isRunning ? "true" : null;
    waiting.hidden = !turn.isRunning || !isEmpty;
    waiting.title = words.writing(name);
    note.textContent = "";
    if (isHidden) note.textContent = words.privateTurn;
    else if (!turn.isRunning && !turn.error && isEmpty) note.textContent = words.noAnswer;
    else if (turn.outcome === "stopped") note.textContent = words.stopped;
    note.hidden = !note.textContent;
    trouble.hidden = turn.state !== "failed";
    sentence.textContent = turn.error || words.failed;
    copy.hidden = isEmpty;
    anew.hidden = change.hidden = !mayReplace;
    after.hidden = turn.isRunning || (isEmpty && !mayReplace);
    this.#showThumbs(turn, !!turn.id && !isEmpty); // Bob does not say whose turn a private one is
    this.#write(turn);
  }

  #showFiles(turn) {
    if (!turn.files.length) return;
    this.#shelf ??= this.#newShelf(this.#parts.you);
    this.#shelf.then((shelf) => shelf.show(turn)).catch(() => (this.#shelf = null));
  }

  #showThumbs({ rated }, isThere) {
    if (isThere) this.#thumbs ??= this.#newThumbs();
    this.#thumbs
      ?.then((thumbs) => {
        thumbs.know(rated);
        for (const button of thumbs.buttons) button.hidden = !isThere;
      })
      .catch(() => (this.#thumbs = null));
  }

  #write({ text, isRunning }) {
    if (text === this.#text && isRunning === this.#wasRunning) return;
    this.#text = text;
    this.#wasRunning = isRunning;
    if (isRunning) this.#markdown.grow(text);
    else this.#markdown.show(text);
  }
}

/** The beginning of an answer as it is read out: a line for each block, and a comma between the cells of a table. */
export function spoken(answer) {
  let text = "";
  const read = (node) => {
    if (text.length > MOST_SPOKEN) return;
    if (node.nodeType === Node.TEXT_NODE) text += node.data;
    else if (node.matches(".box")) text += `${node.ariaLabel} `;
    else if (node.localName === "br") text += "\n";
    else if (!node.matches(".code-head")) {
      if (BLOCKS.has(node.localName)) text += "\n";
      if (node.matches("ol > li")) text += `${node.parentNode.start + [...node.parentNode.children].indexOf(node)}. `;
      if (node.matches("td + td, th + th")) text += ", ";
      node.childNodes.forEach(read);
      if (BLOCKS.has(node.localName)) text += "\n";
    }
  };
  answer.childNodes.forEach(read);
  const said = text.replace(/\s*\n\s*/g, "\n").trim();
  return said.length > MOST_SPOKEN ? `${said.slice(0, MOST_SPOKEN).replace(/\s\S*$/, "")}…` : said;
}
