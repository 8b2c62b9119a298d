// What somebody thinks of an answer: a thumb up or down, and a line for why. It is fetched with the first answer.

import { h, icon } from "./dom.js";

const LONGEST_WORDS = 1000; // as the server takes them

/** The nodes, to stand below an answer. `rate` sends what is thought of it: whether it is `good`, and `words` or none. */
export class Thumbs {
  #words;
  #announce;
  #rate;
  #thumbs;
  #why;

  constructor({ words, announce, rate }) {
    this.#words = words;
    this.#announce = announce;
    this.#rate = rate;
    const thumb = (good, label) =>
      h("button", { type: "button", "aria-label": label, title: label, "aria-pressed": "false", click: () => this.#press(good) }, icon("thumb"));
    this.#thumbs = new Map([[true, thumb(true, words.good)], [false, thumb(false, words.bad)]]);
    this.#why = h("input", { "aria-label": words.why, placeholder: words.why, maxlength: LONGEST_WORDS, dir: "auto", enterkeyhint: "send" });
    const submit = (event) => {
      event.preventDefault();
      this.#explain();
    };
    this.form = h("form", { class: "why", hidden: true, submit }, this.#why, h("button", {}, words.send));
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation();
      this.#leave();
    });
    this.buttons = [...this.#thumbs.values()];
  }

  /** Bob knows what was thought of the answer. What is pressed here says more. */
  know(good) {
    if (good !== null && this.#pressed === undefined) this.#show(good);
  }

  get #pressed() {
    return [...this.#thumbs].find(([, button]) => button.ariaPressed === "true")?.[0];
  }

  async #press(good) {
    const before = this.#pressed;
    this.#show(good);
    if (!(await this.#send({ good }))) {
      this.#show(before);
      return;
    }
    this.form.hidden = false;
  }

  async #explain() {
    const words = this.#why.value.trim();
    if (!words || (await this.#send({ good: this.#pressed, words }))) this.#leave();
  }

  async #send(thumb) {
    const isTaken = await this.#rate(thumb).then(() => true, () => false);
    this.#announce(isTaken ? this.#words.thanks : this.#words.broken);
    return isTaken;
  }

  #show(good) {
    for (const [is, button] of this.#thumbs) button.ariaPressed = `${is === good}`;
  }

  #leave() {
    this.#why.value = "";
    const { activeElement } = this.form.getRootNode();
    if (this.form.contains(activeElement)) this.#thumbs.get(this.#pressed)?.focus();
    this.form.hidden = true;
  }
}
