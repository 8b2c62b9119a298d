// The chat as people see it, on a page of its own or in a widget.

import { Api } from "./api.js";
import { Conversation } from "./conversation.js";
import { h, icon } from "./dom.js";
import { Memory } from "./memory.js";
import { Shown, spoken } from "./shown.js";
import { wordsIn } from "./words.js";

const BASE = new URL("../", import.meta.url);
const NEAR_THE_END = 48;
const SECONDS_TO_HEAR = 10; // until what is announced is gone from the page
const LONGEST_QUESTION = 100_000; // characters, as long as nobody has told

/** Whether there is a keyboard with a Shift key, as far as one can tell. On a phone an Enter begins a line. */
const types = () => !matchMedia("(pointer: coarse)").matches;

/**
 * Puts a chat into `place`. `options`: assistant, title, greeting, language, key, color and onColor, and `close`,
 * which is called when somebody wants the chat to close, if it can.
 */
export async function mount(place, options = {}) {
  return new Chat(place, options, await wordsIn([options.language, ...navigator.languages].filter(Boolean)));
}

class Chat {
  #conversation;
  #memory;
  #words;
  #name;
  #isNamed; // by whoever put the chat here
  #shown = new Map(); // what shows each turn
  #atEnd = true;
  #last = 0; // where it was scrolled to
  #height = 0; // at which the end was last put into view
  #parts;
  #ending = new AbortController();
  #api;
  #language;
  #limits = null; // of files, once they are known
  #handling = null; // a promise of what handles files, once there are any
  #tray = null; // of those that are to be sent
  #falling = 0; // silent, after what was announced
  #attaching = null; // ends when what was chosen is in the tray

  constructor(place, options, { language, words }) {
    this.#words = words;
    this.#language = language;
    this.#api = new Api(BASE, options.key, language);
    this.#name = options.assistant || "Bob";
    this.#isNamed = !!options.assistant;
    this.#parts = this.#build(options, language);
    place.append(this.#parts.root);
    this.#memory = new Memory(`bob ${BASE.href} ${options.key || ""}`.trim(), () => this.#conversation.refresh());
    this.#conversation = new Conversation(this.#api, this.#memory, this, words);
    this.#listen();
    this.#conversation.open();
    this.#learnLimits();
    if (!this.#memory.lasts) this.notice(words.noStorage);
  }

  focus() {
    this.#parts.input.focus();
  }

  // ── what is there ────────────────────────────────────────────────────────

  #build({ title, greeting, color, onColor, close }, language) {
    const words = this.#words;
    const name = this.#name;
    const button = (given, ...children) => h("button", { type: "button", ...given }, ...children);
    const drawn = (what, label, given) => button({ "aria-label": label, title: label, ...given }, icon(what));
    const tool = (what, label, click) => drawn(what, label, { class: "tool", click });
    const parts = {
      fresh: tool("fresh", words.fresh, () => this.#begin()),
      erase: tool("erase", words.erase, () => this.#askWhetherToErase()),
      eraseYes: button({ class: "danger", click: () => this.#erase() }, words.eraseYes),
      eraseNo: button({ click: () => this.#keep() }, words.eraseNo),
      earlier: button({ class: "earlier", hidden: true, click: () => this.#earlier() }, words.earlier),
      hello: h(
        "section",
        { class: "hello" },
        h("p", { class: "hello-name" }, words.hello(name)),
        h("p", { dir: "auto" }, greeting || words.greeting),
      ),
      turns: h("div", { class: "turns" }),
      newest: drawn("down", words.newest, { class: "newest", hidden: true, click: () => this.#toEnd() }),
      input: h("textarea", {
        rows: "1",
        dir: "auto",
        "aria-label": words.question,
        placeholder: words.placeholder(name),
        enterkeyhint: types() ? "send" : "enter",
      }),
      attach: drawn("attach", words.attach, { class: "tool", hidden: true, click: () => this.#parts.picker.click() }),
      picker: h("input", { type: "file", multiple: true, hidden: true, tabindex: "-1" }),
      tray: h("div"),
      send: drawn("send", words.send, { class: "send", click: () => this.#send() }),
      stop: drawn("stop", words.stop, { class: "send stop", hidden: true, click: () => this.#conversation.stop() }),
      notice: h("p", { class: "notice" }),
      hint: h("p", { class: "hint" }, words.hint),
      live: h("p", { class: "unseen", "aria-live": "polite", role: "status" }),
    };
    parts.sure = h(
      "div",
      { class: "sure", role: "alertdialog", "aria-label": words.erase, hidden: true },
      h("p", {}, words.eraseSure),
      h("div", { class: "choice" }, parts.eraseNo, parts.eraseYes),
    );
    parts.log = h(
      "div",
      { class: "log", role: "region", "aria-label": words.conversation, tabindex: "0" },
      h("div", { class: "page" }, parts.earlier, parts.hello, parts.turns),
    );
    parts.root = h(
      "div",
      { class: close ? "bob in-widget" : "bob", lang: language },
      h(
        close ? "div" : "header", // a widget's landmarks would be taken for the page's
        { class: "head" },
        h("span", { class: "mark" }, icon("bob")),
        h(close ? "h2" : "h1", { class: "title", dir: "auto" }, title || name),
        parts.fresh,
        parts.erase,
        close ? tool("close", words.close, close) : null,
      ),
      parts.sure,
      h(close ? "div" : "main", { class: "middle" }, parts.log, parts.newest),
      h(
        "div",
        { class: "foot" },
        parts.tray,
        h("div", { class: "composer" }, parts.input, parts.attach, parts.picker, parts.send, parts.stop),
        parts.notice,
        parts.hint,
      ),
      parts.live,
    );
    if (color) {
      parts.root.classList.add("own-color");
      parts.root.style.setProperty("--accent", color);
      parts.root.style.setProperty("--on-accent", onColor);
    }
    return parts;
  }

  #listen() {
    const { input, log, root, turns } = this.#parts;
    const { signal } = this.#ending;
    input.addEventListener("keydown", (event) => {
      // Not event.key: an Enter that chooses a word in an input method is 229 here.
      if (event.keyCode !== 13 || event.shiftKey || !types()) return;
      event.preventDefault();
      this.#send();
    });
    input.addEventListener("beforeinput", (event) => this.#bound(event));
    input.addEventListener("input", () => this.#fit());
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing || this.#parts.sure.hidden) return;
      event.stopPropagation();
      this.#keep();
    });
    log.addEventListener("scroll", () => {
      // What has grown or shrunk since scrolls too; only at the same height it was somebody.
      if (this.#atEnd && log.scrollHeight !== this.#height) this.#followEnd();
      else this.#atEnd = (this.#atEnd && log.scrollTop >= this.#last) || this.#isNearTheEnd;
      this.#last = log.scrollTop;
      this.#parts.newest.hidden = this.#atEnd;
    });
    const watch = new ResizeObserver(() => this.#followEnd());
    watch.observe(log);
    watch.observe(turns);
    const look = () => {
      if (document.visibilityState !== "visible") return;
      this.#conversation.refresh();
      this.#learnLimits();
    };
    document.addEventListener("visibilitychange", look, { signal });
    addEventListener("pageshow", (event) => event.persisted && look(), { signal });
    addEventListener("online", () => this.#conversation.reconnect(), { signal });
    this.#listenForFiles();
  }

  #listenForFiles() {
    const { input, picker, root } = this.#parts;
    picker.addEventListener("change", () => {
      this.#attach(picker.files);
      picker.value = ""; // so that the same one can be chosen again
      this.focus();
    });
    input.addEventListener("paste", (event) => {
      const { files, types } = event.clipboardData;
      // Whoever copies text in an office gets a picture of it, too.
      if (!files.length || !this.#takesFiles || (types.includes("text/plain") && types.includes("text/html"))) return;
      event.preventDefault();
      this.#attach(files);
    });
    const drag = (event) => {
      const { type, relatedTarget, dataTransfer } = event;
      if (!this.#takesFiles || !dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      const isOver = type !== "drop" && (type !== "dragleave" || root.contains(relatedTarget));
      this.#files().then((files) => files.invite(this.#parts.log, isOver));
      if (type === "drop") this.#attach(dataTransfer.files);
    };
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) root.addEventListener(kind, drag);
  }

  // ── what the conversation tells ──────────────────────────────────────────

  changed() {
    const { turns, hello, earlier, send, stop, erase, fresh } = this.#parts;
    const conversation = this.#conversation;
    for (const [turn, shown] of this.#shown) {
      if (conversation.turns.includes(turn)) continue;
      this.#rescueFocus(shown.article);
      shown.article.remove();
      this.#shown.delete(turn);
    }
    let next = turns.firstChild;
    for (const turn of conversation.turns) {
      const { article } = this.#draw(turn);
      if (article === next) next = next.nextSibling;
      else turns.insertBefore(article, next);
    }
    hello.hidden = conversation.more;
    earlier.hidden = !conversation.more;
    const running = !!conversation.running;
    const focused = this.#focused;
    const isThere = new Map([
      [send, !running],
      [stop, running],
      [erase, !conversation.isEmpty],
      [fresh, !conversation.isEmpty],
    ]);
    for (const [button, is] of isThere) {
      button.hidden = !is;
      if (!is && focused === button) this.focus();
    }
    this.#followEnd();
  }

  grew(turn) {
    this.#draw(turn);
  }

  ended(turn) {
    const { answer } = this.#draw(turn);
    const name = this.#nameFor(turn);
    this.#announce(turn.error ?? `${name}: ${spoken(answer) || this.#words.noAnswer}`);
  }

  refused(turn, sentence) {
    const { input } = this.#parts;
    if (input.value.trim()) input.value = `${turn.question}\n${input.value}`;
    else input.value = turn.question;
    this.#fit();
    this.notice(sentence);
    this.#attach(turn.files.map(({ file }) => file).filter(Boolean), false);
    this.focus();
  }

  notice(text) {
    const { notice } = this.#parts;
    if (notice.textContent === text) return;
    notice.textContent = text;
    if (text) this.#announce(text);
  }

  troubled(isBusy, seconds) {
    const words = this.#words;
    this.notice(`${isBusy ? words.busy(this.#name) : words.lost} ${words.again(seconds)}`);
  }

  // ── what people do ───────────────────────────────────────────────────────

  #send() {
    const { input } = this.#parts;
    const question = input.value.trim();
    if (this.#conversation.running) return;
    if (this.#attaching) {
      this.#attaching.then(() => this.#send());
      return;
    }
    if (!question) {
      if (this.#tray?.isFull) this.notice(this.#words.wordsWithFiles);
      return;
    }
    input.value = "";
    this.#fit();
    this.notice("");
    this.#parts.live.textContent = "";
    this.#atEnd = true;
    this.#conversation.ask(question, this.#tray?.take() ?? []);
    this.focus();
    this.#toEnd();
  }

  #begin() {
    this.#keep();
    this.#conversation.begin();
    this.#atEnd = true;
    this.focus();
  }

  #askWhetherToErase() {
    this.#parts.sure.hidden = false;
    this.#parts.eraseNo.focus();
  }

  #keep() {
    if (this.#parts.sure.hidden) return;
    this.#parts.sure.hidden = true;
    if (this.#parts.erase.hidden) this.focus();
    else this.#parts.erase.focus();
  }

  async #erase() {
    this.#parts.sure.hidden = true;
    this.focus();
    try {
      await this.#conversation.erase();
      this.notice(this.#words.erased);
    } catch (problem) {
      this.notice(problem.status ? problem.message || this.#words.broken : this.#words.unreachable(this.#name));
    }
  }

  async #earlier() {
    const { log, earlier } = this.#parts;
    const fromEnd = log.scrollHeight - log.scrollTop;
    earlier.disabled = true;
    try {
      await this.#conversation.earlier();
      this.#atEnd = false;
      log.scrollTop = log.scrollHeight - fromEnd;
      if (earlier.hidden) log.focus();
    } catch {
      this.notice(this.#words.noHistory);
    }
    earlier.disabled = false;
  }

  // ── files ────────────────────────────────────────────────────────────────

  get #takesFiles() {
    return !!this.#limits?.files;
  }

  async #learnLimits() {
    this.#limits ??= await this.#api.limits().catch(() => null);
    this.#parts.attach.hidden = !this.#takesFiles;
    this.#parts.picker.accept = this.#limits?.types.join() ?? "";
  }

  /** Their part of this, which is fetched only when there are any. */
  #files() {
    const load = async () => {
      const { Handling } = await import("./files.js");
      return new Handling(this.#parts.root, {
        words: this.#words,
        language: this.#language,
        limits: () => this.#limits,
        fetch: (id) => this.#conversation.file(id),
        notice: (text) => this.notice(text),
        announce: (text) => this.#announce(text),
        focus: () => this.focus(),
      });
    };
    this.#handling ??= load();
    this.#handling.catch(() => (this.#handling = null));
    return this.#handling;
  }

  /** Puts files with those that are to be sent, as far as they may be. */
  #attach(chosen, isNew = true) {
    const files = [...chosen];
    if (!files.length) return;
    if (isNew) this.notice("");
    const attach = async () => {
      try {
        this.#tray ??= (await this.#files()).tray(this.#parts.tray);
        await this.#tray.add(files, isNew);
      } catch {
        this.notice(this.#words.unreachable(this.#name));
      }
      if (this.#attaching === attaching) this.#attaching = null;
      this.#followEnd();
    };
    const before = this.#attaching;
    const attaching = (before ?? Promise.resolve()).then(attach);
    this.#attaching = attaching;
  }

  // ── small things ─────────────────────────────────────────────────────────

  #draw(turn) {
    let shown = this.#shown.get(turn);
    if (!shown) {
      shown = new Shown(this.#words, {
        retry: () => {
          if (this.#conversation.running) return;
          this.#atEnd = true;
          this.focus();
          this.#conversation.retry(turn);
        },
        announce: (text) => this.#announce(text),
        drawn: () => this.#followEnd(),
        shelf: async (place) => (await this.#files()).shelf(place),
      });
      this.#shown.set(turn, shown);
    }
    shown.update(turn, this.#nameFor(turn));
    return shown;
  }

  #nameFor({ assistant, isPrivate }) {
    return (this.#isNamed && !isPrivate ? this.#name : assistant) || this.#name;
  }

  /** Has it read out. It does not stay: whoever looks around would find it twice. */
  #announce(text) {
    const { live } = this.#parts;
    live.textContent = text;
    clearTimeout(this.#falling);
    this.#falling = setTimeout(() => (live.textContent = ""), SECONDS_TO_HEAR * 1000);
  }

  get #focused() {
    return this.#parts.root.getRootNode().activeElement;
  }

  #rescueFocus(part) {
    if (part.contains(this.#focused)) this.focus();
  }

  /** Stays at the end, unless somebody has scrolled up to read. */
  #followEnd() {
    const { log, newest } = this.#parts;
    if (this.#atEnd) {
      log.scrollTop = log.scrollHeight;
      this.#height = log.scrollHeight;
      this.#last = log.scrollTop;
    } else newest.hidden = this.#isNearTheEnd;
  }

  get #isNearTheEnd() {
    const { log } = this.#parts;
    return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_THE_END;
  }

  #toEnd() {
    this.#atEnd = true;
    this.#parts.newest.hidden = true;
    this.#followEnd();
  }

  /** Lets nothing in that is too long to be asked: laying it out could take many seconds. */
  #bound(event) {
    const { value, selectionStart, selectionEnd } = event.target;
    const most = this.#limits?.characters_of_a_question ?? LONGEST_QUESTION;
    const added = event.data ?? "";
    const length = value.length - (selectionEnd - selectionStart) + added.length;
    if (added.length < 2 || length <= most) return;
    if (length <= 2 * most && [...value, ...added].length <= most) return; // of which some are two for JavaScript
    event.preventDefault();
    this.notice(this.#words.tooLong(most.toLocaleString(this.#language)));
  }

  #fit() {
    const { input } = this.#parts;
    input.style.setProperty("height", "auto");
    input.style.setProperty("height", `${input.scrollHeight}px`);
  }
}
