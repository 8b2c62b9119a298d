// A turn as people see it: a question and its answer.

import { h, icon } from "./dom.js";
import { Markdown } from "./markdown.js";

/** The nodes that show a turn. */
export class Shown {
  #words;
  #parts;
  #markdown;
  #text = null;
  #wasRunning = null;
  #shelf = null; // a promise of what shows files
  #newShelf;

  constructor(words, { retry, announce, drawn, shelf }) {
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
    };
    parts.you = h("div", { class: "you" }, h("h2", { class: "unseen" }, words.you), parts.question);
    parts.trouble = h("div", { class: "trouble" }, parts.sentence, parts.retry);
    parts.reply = h("div", { class: "reply" }, parts.who, parts.answer, parts.waiting, parts.note, parts.trouble);
    this.article = h("article", { class: "turn" }, parts.you, parts.reply);
    this.answer = parts.answer;
    this.#parts = parts;
    this.#markdown = new Markdown(parts.answer, { words, announce, drawn });
  }

  update(turn, name) {
    const { question, you, who, waiting, note, trouble, sentence } = this.#parts;
    const words = this.#words;
    const isHidden = turn.isPrivate && turn.question === null;
    const isEmpty = !turn.text.trim();
    you.hidden = turn.question === null;
    if (question.textContent !== turn.question) question.textContent = turn.question;
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
    this.#write(turn);
  }

  #showFiles(turn) {
    if (!turn.files.length) return;
    this.#shelf ??= this.#newShelf(this.#parts.you);
    this.#shelf.then((shelf) => shelf.show(turn)).catch(() => (this.#shelf = null));
  }

  #write({ text, isRunning }) {
    if (text === this.#text && isRunning === this.#wasRunning) return;
    this.#text = text;
    this.#wasRunning = isRunning;
    if (isRunning) this.#markdown.grow(text);
    else this.#markdown.show(text);
  }
}

/** An answer as it is read out. */
export function spoken(answer) {
  const copy = answer.cloneNode(true);
  for (const head of copy.querySelectorAll(".code-head")) head.remove();
  return Array.from(copy.children, (block) => block.textContent.trim()).join("\n").trim();
}
