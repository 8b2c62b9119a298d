// The chat as people see it, on a page of its own or in a widget.

import { Api } from "./api.js";
import { Conversation } from "./conversation.js";
import { h, icon } from "./dom.js";
import { Follow } from "./follow.js";
import { Draft, forgetAllBut, Memory } from "./memory.js";
import { Shown, spoken } from "./shown.js";
import { directionOf, wordsIn } from "./words.js";

const BASE = new URL("../", import.meta.url);
const SECONDS_TO_HEAR = 10; // until what is announced is gone from the page
const PAUSES = [1, 2, 4, 8, 15]; // seconds before each further try to learn who asks
const LONGEST_QUESTION = 100_000; // characters, as long as nobody has told

/** Whether there is a keyboard with a Shift key, as far as one can tell. On a phone an Enter begins a line. */
const types = () => !matchMedia("(pointer: coarse)").matches;

/**
 * Puts a chat into `place`. `options`: assistant (who answers) and isChosen (not merely as the usual one), title,
 * greeting, language, key, color and onColor, logo, questions to begin with, contact, texts, isEmbedded (in a page of
 * others), identity (a token of who asks, or what gives one), and what is called: `close` when somebody wants the chat
 * to close, if it can; `on(event, detail)` for "question", "answer" and "error"; `unread(count, label)`; and
 * `isHidden()`, which says whether nobody can see it.
 */
export async function mount(place, options = {}) {
  const wanted = [options.language, ...navigator.languages].filter(Boolean);
  return new Chat(place, options, await wordsIn(wanted, options.texts));
}

/** Where to turn to a person: a link, an address of mail or a telephone; "event" where a page `listens`. Else null. */
export function contactOf(text, listens = false) {
  if (text === "event" && listens) return text;
  if (/^(https?:\/\/|mailto:|tel:)\S+$/i.test(text)) return text;
  return /^[^\s@:/]+@[^\s@:/]+$/.test(text) ? `mailto:${text}` : null;
}

/** What of an answer can have the focus. */
function reachable(answer) {
  return [...answer.querySelectorAll("a[href], button, [tabindex]")];
}

class Chat {
  #conversation;
  #memory;
  #words;
  #name;
  #options;
  #contact;
  #draft; // where what is not sent yet is kept
  #unread = 0;
  #told = ""; // in the notice
  #held = null; // the link of a growing answer that has the focus: `{answer, at}`
  #list = null; // a promise of the list of conversations, once it was wanted
  #person = null; // who asks, as Bob calls them, where the website says so
  #identifying = null; // a promise, while it is being found out who asks
  #identified = 0; // times that somebody said who asks
  #isOpen = false; // the conversation
  #wake = () => {}; // whoever waits until nothing is answered
  #shown = new Map(); // what shows each turn
  #end; // of the conversation, which is followed
  #parts;
  #ending = new AbortController();
  #api;
  #language;
  #limits = null; // of files, once they are known
  #handling = null; // a promise of what handles files, once there are any
  #tray = null; // of those that are to be sent
  #falling = 0; // silent, after what was announced
  #attaching = null; // ends when what was chosen is in the tray
  #changing = null; // the turn whose question is being changed

  constructor(place, options, { language, words }) {
    this.#words = words;
    this.#language = language;
    this.#api = new Api(BASE, options.key, language);
    this.#name = options.assistant || "Bob";
    this.#options = options;
    this.#contact = options.contact ? contactOf(options.contact, !!options.on) : null;
    if (options.contact && !this.#contact) console.warn("Bob's contact is neither a link nor an address.");
    this.#parts = this.#build(options, language);
    this.#end = new Follow(this.#parts.log, (isBelow) => (this.#parts.newest.hidden = !isBelow));
    place.append(this.#parts.root);
    this.#draft = new Draft(`${this.#memoryOf(null)} draft`);
    this.#talkAs(null, this.#api);
    this.#parts.input.value = this.#draft.text;
    this.#fit();
    this.#listen();
    this.#fitIn(place);
    if (!options.identity || this.#memory.running.length) this.#open();
    if (options.identity) this.identify(options.identity);
    this.#learnLimits();
    if (!this.#memory.lasts) this.notice(words.noStorage);
  }

  focus() {
    this.#parts.input.focus();
  }

  /** Asks, unless something is being answered or there is nothing to ask: whether it did. */
  ask(question) {
    if (this.#conversation.running || !question.trim()) return false;
    this.#changeNothing();
    this.#ask(question.trim(), []);
    return true;
  }

  /** Somebody can see it now. */
  seen() {
    this.#fit();
    if (document.visibilityState !== "visible" || this.#options.isHidden?.()) return;
    this.#count(0);
  }

  /**
   * Goes on as whom the website names, in their conversations: with that of the guest who is here, which becomes theirs.
   * `given` is a token, or a function that gives one whenever one is needed.
   */
  identify(given) {
    const call = ++this.#identified;
    const before = this.#identifying;
    const identifying = (async () => {
      await before;
      try {
        if (call === this.#identified) await this.#identify(given, () => call !== this.#identified);
      } catch (problem) {
        console.warn("Bob does not take this identity.", problem);
        this.#options.on?.("error", { question: null, message: problem.message || "The identity is not taken." });
      }
      if (this.#identifying === identifying) this.#identifying = null;
      this.#open();
    })();
    this.#identifying = identifying;
    return identifying;
  }

  /** Begins anew, and leaves nothing in this browser. */
  end() {
    this.#identified++;
    if (this.#person) {
      this.#memory.end();
      this.#talkAs(null, this.#api.as(null));
      this.#isOpen = true; // as there is nothing to be gone on with
    }
    this.#conversation.end();
    this.#empty();
    this.#count(0);
    this.#list?.then((list) => list.close());
  }

  /** Takes it away; what this browser remembers stays. */
  remove() {
    this.#identified++;
    this.#conversation.close();
    this.#ending.abort();
    this.#memory.stopListening.abort();
    this.#parts.root.remove();
  }

  // ── who asks ─────────────────────────────────────────────────────────────

  /** Under which name it is remembered what somebody says here. */
  #memoryOf(person) {
    const { key, isChosen } = this.#options;
    const name = `bob ${BASE.href} ${key || ""}`.trim() + (isChosen ? ` ${this.#name}` : "");
    return person ? `${name} ~${person}` : name;
  }

  /** From now on a guest talks here, or a person. Of another person nothing stays. */
  #talkAs(person, api) {
    if (this.#person) this.#empty();
    if (person) forgetAllBut(this.#memoryOf(person), `${this.#memoryOf(null)} ~`);
    this.#conversation?.close();
    this.#memory?.stopListening.abort();
    this.#person = person;
    this.#api = api;
    const changed = (isEnded) => (isEnded ? this.end() : this.#refresh());
    this.#memory = new Memory(this.#memoryOf(person), changed);
    const assistant = { name: this.#name, isChosen: !!this.#options.isChosen };
    this.#conversation = new Conversation(api, this.#memory, this, this.#words, assistant);
    this.#isOpen = false;
    this.#parts.list.hidden = !!this.#options.isEmbedded && !person;
    this.#list?.then((list) => list.close());
  }

  #open() {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#conversation.open();
  }

  #refresh() {
    if (this.#isOpen) this.#conversation.refresh();
  }

  /** Throws away what was typed and chosen. */
  #empty() {
    this.#changing = null;
    this.#parts.input.value = "";
    this.#tray?.take();
    this.#fit();
  }

  async #identify(given, isOver) {
    const { Identity } = await import("./identity.js");
    const identity = new Identity(given);
    await identity.token();
    const api = this.#api.as(identity);
    const { person, sessions, more } = await this.#insisted(() => api.sessions(), isOver);
    if (isOver()) return;
    if (person === this.#person) {
      this.#api.identity = identity;
      return;
    }
    while (this.#conversation.running && !isOver()) await new Promise((wake) => (this.#wake = wake));
    const guests = this.#person ? null : this.#memory;
    const left = guests?.session;
    const isTheirs = !!left && !isOver() && (await this.#claimed(api, left, isOver));
    if (isOver()) return;
    if (isTheirs) guests.forget(left);
    this.#talkAs(person, api);
    const [newest] = sessions.filter(({ asked_at: at }) => at).sort((one, other) => (one.asked_at < other.asked_at ? 1 : -1));
    const goesOn = isTheirs ? left : this.#memory.isNew && newest?.session_id;
    this.#memory.learn(sessions, !more && !isTheirs);
    if (goesOn) this.#memory.goOnWith(goesOn);
    this.#open();
  }

  /** Whether a guest's session is the person's now. */
  async #claimed(api, session, isOver) {
    try {
      await this.#insisted(() => api.claim(session), isOver);
      return true;
    } catch (problem) {
      if (!problem.status) throw problem;
      return false; // it is gone, or somebody's
    }
  }

  /** What is asked of Bob, some more times while he cannot say. */
  async #insisted(ask, isOver) {
    let isTroubled = false;
    for (const seconds of [...PAUSES, null]) {
      try {
        const told = await ask();
        if (isTroubled) this.notice("");
        return told;
      } catch (problem) {
        const mayPass = !problem.status || [409, 429, 502, 503, 504].includes(problem.status);
        if (!mayPass || seconds === null || isOver()) throw problem;
        this.troubled(!!problem.status, seconds);
        isTroubled = true;
      }
      await new Promise((wake) => setTimeout(wake, seconds * 1000));
    }
  }

  // ── what is there ────────────────────────────────────────────────────────

  #build({ title, greeting, color, onColor, logo, questions = [], close, isEmbedded = !!close }, language) {
    const words = this.#words;
    const name = this.#name;
    const button = (given, ...children) => h("button", { type: "button", ...given }, ...children);
    const drawn = (what, label, given) => button({ "aria-label": label, title: label, ...given }, icon(what));
    const tool = (what, label, click) => drawn(what, label, { class: "tool", click });
    const parts = {
      fresh: tool("fresh", words.fresh, () => this.#begin()),
      erase: tool("erase", words.erase, () => this.#askWhetherToErase()),
      list: tool("list", words.conversations, () => this.#showList()),
      contact: this.#contact && this.#newContact({ class: "tool", title: words.contact }, icon("person")),
      eraseYes: button({ class: "danger", click: () => this.#erase() }, words.eraseYes),
      eraseNo: button({ click: () => this.#keep() }, words.eraseNo),
      earlier: button({ class: "earlier", hidden: true, click: () => this.#earlier() }, words.earlier),
      hello: h(
        "section",
        { class: "hello" },
        h("p", { class: "hello-name" }, words.hello(name)),
        h("p", { dir: "auto" }, greeting || words.greeting),
      ),
      questions: h(
        "div",
        { class: "questions", role: "group", "aria-label": words.suggestions, hidden: true },
        ...questions.map((text) => button({ dir: "auto", click: () => this.ask(text) }, text)),
      ),
      turns: h("div", { class: "turns" }),
      newest: drawn("down", words.newest, { class: "newest", hidden: true, click: () => this.#end.toEnd() }),
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
      h("div", { class: "page" }, parts.earlier, parts.hello, parts.questions, parts.turns),
    );
    parts.root = h(
      "div",
      { class: isEmbedded ? "bob in-widget" : "bob", lang: language, dir: directionOf(language) },
      h(
        isEmbedded ? "div" : "header", // a widget's landmarks would be taken for the page's
        { class: "head" },
        logo ? h("img", { class: "mark logo", src: logo, alt: "" }) : h("span", { class: "mark" }, icon("bob")),
        h(isEmbedded ? "h2" : "h1", { class: "title", dir: "auto" }, title || name),
        parts.contact,
        parts.list,
        parts.fresh,
        parts.erase,
        close ? tool("close", words.close, close) : null,
      ),
      parts.sure,
      h(isEmbedded ? "div" : "main", { class: "middle" }, parts.log, parts.newest),
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

  /** What leads to a person. Whoever listens to "handover" learns which conversation it is about. */
  #newContact(given, ...children) {
    const click = () => this.#options.on?.("handover", { session: this.#conversation.session });
    const all = { "aria-label": this.#words.contact, click, ...given };
    if (this.#contact === "event") return h("button", { type: "button", ...all }, ...children);
    const onTheWeb = /^http/i.test(this.#contact) ? { target: "_blank", rel: "noopener" } : {};
    return h("a", { href: this.#contact, ...onTheWeb, ...all }, ...children);
  }

  /** Leaves the place what a keyboard on the screen does not cover, which browsers do not tell to layouts. */
  #fitIn(place) {
    const view = window.visualViewport;
    const fit = () => {
      const isZoomed = !view || view.scale > 1.01;
      const above = isZoomed ? 0 : view.offsetTop;
      place.style.setProperty("--above", `${above}px`);
      place.style.setProperty("--covered", `${isZoomed ? 0 : Math.max(0, innerHeight - view.height - above)}px`);
    };
    const { signal } = this.#ending;
    for (const kind of ["resize", "scroll"]) view?.addEventListener(kind, fit, { signal });
    fit();
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
      if (event.key !== "Escape" || event.isComposing || (this.#parts.sure.hidden && !this.#changing)) return;
      event.stopPropagation();
      if (this.#parts.sure.hidden) this.#changeNothing();
      else this.#keep();
    });
    const watch = new ResizeObserver(() => this.#end.grew());
    watch.observe(log);
    watch.observe(turns);
    const look = () => {
      if (document.visibilityState !== "visible") return;
      this.seen();
      this.#refresh();
      this.#learnLimits();
    };
    document.addEventListener("visibilitychange", look, { signal });
    addEventListener("pageshow", (event) => event.persisted && look(), { signal });
    addEventListener("online", () => this.#isOpen && this.#conversation.reconnect(), { signal });
    turns.addEventListener("focusin", ({ target }) => {
      const answer = target.closest(".answer");
      this.#held = answer && { answer, at: reachable(answer).indexOf(target) };
    });
    turns.addEventListener("focusout", ({ target }) => {
      // What is drawn anew loses the focus in some browsers with this event, and then it is not there any more.
      queueMicrotask(() => target.isConnected && (this.#held = null));
    });
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
    const { turns, hello, questions, earlier, send, stop, erase, fresh } = this.#parts;
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
    questions.hidden = !questions.hasChildNodes() || !conversation.isEmpty;
    earlier.hidden = !conversation.more;
    const running = !!conversation.running;
    if (!running) this.#wake();
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
    this.#end.grew();
  }

  grew(turn) {
    this.#draw(turn);
  }

  ended(turn) {
    const { answer } = this.#draw(turn);
    const name = this.#nameFor(turn);
    this.#announce(turn.error ?? `${name}: ${spoken(answer) || this.#words.noAnswer}`);
    const { question, text, error } = turn;
    if (turn.state === "failed") this.#options.on?.("error", { question, message: error || this.#words.failed });
    else this.#options.on?.("answer", { question, text, assistant: name, isStopped: turn.outcome === "stopped" });
    if (document.visibilityState !== "visible" || this.#options.isHidden?.()) this.#count(this.#unread + 1);
  }

  refused(turn, sentence) {
    const { input } = this.#parts;
    input.value = [turn.question, input.value].filter((each) => each.trim()).join("\n");
    this.#fit();
    this.notice(sentence);
    if (sentence) this.#options.on?.("error", { question: turn.question, message: sentence });
    this.#attach(turn.files.map(({ file }) => file).filter(Boolean), false);
    this.focus();
  }

  /** Says something, with what may be done about it: a button's `[label, click]`. */
  notice(text, action) {
    if (this.#told === text && !action) return;
    this.#told = text;
    const button = action && h("button", { type: "button", click: action[1] }, action[0]);
    this.#rescueFocus(this.#parts.notice);
    this.#parts.notice.replaceChildren(...[text, button].filter(Boolean));
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
    const changed = this.#changing;
    if (!question && (changed || !this.#tray?.isFull)) return;
    this.#changing = null;
    input.value = "";
    this.#fit();
    this.#ask(question, changed ? [] : (this.#tray?.take() ?? []), changed);
  }

  /** Puts the last question where it can be changed; what is sent then takes its place. */
  #change(turn) {
    const { input } = this.#parts;
    if (!this.#conversation.mayReplace(turn)) return;
    this.#changing = turn;
    input.value = turn.question;
    this.#fit();
    this.notice(this.#words.changing, [this.#words.changeNothing, () => this.#changeNothing()]);
    this.focus();
  }

  #changeNothing() {
    if (!this.#changing) return;
    this.#changing = null;
    this.#parts.input.value = "";
    this.#fit();
    this.notice("");
    this.focus();
  }

  #ask(question, files, replaced = null) {
    if (this.#identifying) {
      this.#identifying.then(() => this.#ask(question, files, replaced));
      return;
    }
    this.notice("");
    this.#conversation.ask(question, files, replaced);
    this.#announce(this.#words.writing(this.#name));
    this.#options.on?.("question", { text: question });
    this.focus();
    this.#end.toEnd();
  }

  async #rate(turn, thumb) {
    await this.#conversation.rate(turn, thumb);
    const { question, text } = turn;
    this.#options.on?.("feedback", { question, text, good: thumb.good, words: thumb.words ?? null });
  }

  #begin() {
    this.#keep();
    this.#changeNothing();
    const left = this.#conversation.begin();
    this.#end.toEnd();
    this.focus();
    if (left) this.notice(this.#words.begun, [this.#words.undo, () => this.#goOnWith(left)]);
  }

  #goOnWith(session) {
    this.#keep();
    this.#changeNothing();
    this.focus();
    this.#end.toEnd();
    return this.#conversation.goOnWith(session);
  }

  async #showList() {
    const load = async () => {
      const { List } = await import("./list.js");
      return new List(this.#parts.root, this.#parts.log.parentElement, {
        words: this.#words,
        language: this.#language,
        memory: () => this.#memory,
        goOnWith: (session) => this.#goOnWith(session),
        erase: (session) => this.#erase(session),
        closed: () => this.#parts.list.focus(),
      });
    };
    this.#list ??= load();
    try {
      if (this.#person) await this.#learnSessions();
      (await this.#list).toggle();
    } catch {
      this.#list = null;
      this.notice(this.#words.unreachable(this.#name));
    }
  }

  async #learnSessions() {
    const { sessions, more } = await this.#api.sessions();
    this.#memory.learn(sessions, !more);
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

  async #erase(session) {
    this.#parts.sure.hidden = true;
    if (!session) this.focus();
    try {
      await this.#conversation.erase(session);
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
      this.#end.leave();
      log.scrollTop = log.scrollHeight - fromEnd;
      if (earlier.hidden) log.focus();
    } catch {
      this.notice(this.#words.noHistory);
    }
    earlier.disabled = false;
  }

  // ── files ────────────────────────────────────────────────────────────────

  get #takesFiles() {
    return !!this.#limits?.files && !this.#changing;
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
      this.#end.grew();
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
          this.focus();
          this.#conversation.retry(turn);
          this.#announce(this.#words.writing(this.#name));
          this.#end.toEnd();
        },
        anew: () => this.#conversation.mayReplace(turn) && this.#ask(turn.question, [], turn),
        change: () => this.#change(turn),
        announce: (text) => this.#announce(text),
        drawn: () => {
          this.#keepFocus();
          this.#end.grew();
        },
        shelf: async (place) => (await this.#files()).shelf(place),
        rate: (thumb) => this.#rate(turn, thumb),
      });
      this.#shown.set(turn, shown);
    }
    shown.update(turn, this.#nameFor(turn), this.#conversation.mayReplace(turn));
    this.#keepFocus();
    if (this.#contact) this.#offerContact(shown.article, turn.state === "failed");
    return shown;
  }

  #nameFor({ assistant }) {
    return assistant || this.#name;
  }

  #offerContact(article, isWanted) {
    const offered = article.querySelector(":scope > .contact");
    if (!isWanted) offered?.remove();
    else if (!offered) article.append(h("p", { class: "contact" }, this.#newContact({}, this.#words.contact)));
  }

  /** The same link of an answer that was drawn anew has the focus again. */
  #keepFocus() {
    const { answer, at } = this.#held ?? {};
    const focused = this.#focused;
    if (!answer || (focused && focused !== document.body)) return;
    reachable(answer)[at]?.focus({ preventScroll: true });
  }

  /** Shows how many answers nobody has seen. */
  #count(unread) {
    if (unread === this.#unread) return;
    this.#unread = unread;
    document.title = (unread ? `(${unread}) ` : "") + document.title.replace(/^\(\d+\) /, "");
    this.#options.unread?.(unread, unread ? this.#words.unread(unread) : "");
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
    if (input.scrollHeight) input.style.setProperty("height", `${input.scrollHeight}px`); // else nobody can see it
    this.#end.grew(); // it was shorter for a moment, and the conversation higher
    this.#draft.text = input.value;
  }
}
