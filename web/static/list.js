// The conversations that this browser remembers. It is fetched when somebody wants to see them.

import { h, icon } from "./dom.js";

export const en = {
  search: "Search conversations",
  rename: "Rename",
  newTitle: "Title of the conversation",
  untitled: "Conversation",
  noneFound: "There is none.",
};
const STYLE = `
  .list { position: absolute; z-index: 1; inset-block: 0; inset-inline-start: 0; display: flex; flex-direction: column; gap: 10px; width: min(22em, 100%); padding: 12px; border-inline-end: 1px solid var(--line); background: var(--paper); box-shadow: 0 0 24px #0002; }
  .list-top { display: flex; gap: 6px; align-items: center; }
  .list input { flex: 1; min-width: 0; padding: .45em .8em; border: 1px solid var(--edge); border-radius: 10px; background: var(--raised); color: inherit; font: inherit; font-size: max(.95em, var(--least, 0px)); }
  .list ul { flex: 1; margin: 0; padding: 0; overflow: hidden auto; list-style: none; scrollbar-width: thin; }
  .list li { display: flex; flex-wrap: wrap; align-items: center; gap: 2px; border-radius: 10px; }
  .list li[aria-current] { background: var(--sunken); }
  .bob .list .list-title { flex: 1; min-width: 0; padding: .5em .7em; border: 0; border-radius: 10px; background: none; text-align: start; }
  .list .list-title:hover { background: var(--sunken); }
  .list-title span { display: block; text-align: -webkit-match-parent; text-align: match-parent; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .list-title span + span { color: var(--faint); font-size: .85em; }
  .list .choice { flex-basis: 100%; padding: 0 .7em .6em; }
  .list .none { padding: .5em .7em; color: var(--faint); font-size: .93em; }
`;

export class List {
  #place;
  #given;
  #words;
  #search;
  #items = h("ul");
  #none;
  #box;

  /** In `place`. `given`: words, language, `memory()`, `goOnWith(session)`, `erase(session)` and `closed()`. */
  constructor(root, place, given) {
    this.#place = place;
    this.#given = given;
    this.#words = { ...en, ...given.words };
    const { search, close, conversations, noneFound } = this.#words;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    const tree = root.getRootNode();
    tree.adoptedStyleSheets = [...tree.adoptedStyleSheets, sheet];
    this.#search = h("input", { type: "search", dir: "auto", "aria-label": search, placeholder: search });
    this.#search.addEventListener("input", () => this.#draw());
    const leave = h("button", { type: "button", class: "tool", "aria-label": close, click: () => this.close() }, icon("close"));
    this.#none = h("p", { class: "none" }, noneFound);
    this.#box = h(
      "section",
      { class: "list", "aria-label": conversations, hidden: true },
      h("div", { class: "list-top" }, this.#search, leave),
      this.#none,
      this.#items,
    );
    this.#box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation();
      this.close();
    });
    place.append(this.#box);
  }

  toggle() {
    if (!this.#box.hidden) {
      this.close();
      return;
    }
    this.#box.hidden = false;
    this.#search.value = "";
    this.#draw();
    this.#search.focus();
  }

  close() {
    if (this.#box.hidden) return;
    const hadFocus = this.#box.contains(this.#box.getRootNode().activeElement);
    this.#box.hidden = true;
    if (hadFocus) this.#given.closed();
  }

  #draw() {
    const wanted = this.#search.value.trim().toLocaleLowerCase();
    const found = this.#given.memory().list.filter(({ title }) => title.toLocaleLowerCase().includes(wanted));
    this.#items.replaceChildren(...found.map((entry) => this.#item(entry)));
    this.#none.hidden = found.length > 0;
  }

  #item({ session, title, at }) {
    const words = this.#words;
    const { memory, language, goOnWith } = this.#given;
    const name = title || words.untitled;
    const when = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(at || 0);
    const tool = (what, label, click) =>
      h("button", { type: "button", class: "tool", "aria-label": `${label}: ${name}`, title: label, click }, icon(what));
    const open = () => {
      this.close();
      goOnWith(session);
    };
    const item = h(
      "li",
      { "aria-current": memory().session === session ? "true" : null },
      h("button", { type: "button", class: "list-title", click: open }, h("span", { dir: "auto" }, name), h("span", {}, when)),
      tool("rename", words.rename, () => this.#rename(item, session, title)),
      tool("erase", words.erase, () => this.#askWhetherToErase(item, session)),
    );
    return item;
  }

  #rename(item, session, title) {
    const input = h("input", { dir: "auto", maxlength: "80", "aria-label": this.#words.newTitle });
    input.value = title;
    let isOver = false;
    const end = (isMeant) => {
      if (isOver) return;
      isOver = true;
      if (isMeant && input.value.trim()) this.#given.memory().rename(session, input.value);
      this.#draw();
      this.#search.focus();
    };
    input.addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    });
    input.addEventListener("blur", () => queueMicrotask(() => end(true)));
    item.replaceChildren(input);
    input.focus();
    input.select();
  }

  #askWhetherToErase(item, session) {
    const { eraseSure, eraseYes, eraseNo } = this.#words;
    const button = (given, text) => h("button", { type: "button", ...given }, text);
    const erase = async () => {
      this.#search.focus();
      await this.#given.erase(session);
      this.#draw();
    };
    const keep = () => {
      this.#draw();
      this.#search.focus();
    };
    const no = button({ click: keep }, eraseNo);
    const sure = h("p", { class: "none" }, eraseSure);
    item.replaceChildren(sure, h("div", { class: "choice" }, no, button({ class: "danger", click: erase }, eraseYes)));
    no.focus();
  }
}
