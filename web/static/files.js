// Files: those that are to be sent with the next question, and those of questions in the conversation.
// It is fetched only when there are any. Pictures are drawn on canvases, which needs no leave of the page around a widget.

import { Refusal, refusal } from "./api.js";
import { h, icon } from "./dom.js";

const SMALL = [48, 48]; // how large a picture is shown, in pixels of the page
const LARGE = [280, 200];
const SHARPNESS = 2; // times as many pixels are drawn, for screens that have them
const SUFFIXES = { "image/png": ".png", "image/jpeg": ".jpg", "application/pdf": ".pdf" };
const SECONDS_TO_SAVE = 60;
export const en = {
  drop: "Drop files here",
  files: "Files",
  attached: (names) => `Attached: ${names}`,
  remove: (name) => `Remove ${name}`,
  removed: (name) => `Removed: ${name}`,
  save: (name) => `Save ${name}`,
  sending: "Sending files",
  tooMany: (most) => `At most ${most} files go with a question.`,
  tooLarge: (name, size) => `${name} is larger than ${size}.`,
  tooLargeTogether: (size) => `These files are larger than ${size} together.`,
  unreadable: (name) => `${name} cannot be opened on this device.`,
  notRead: (why) => `Not read: ${why}`,
  noFile: (name) => `${name} could not be loaded.`,
};
const STYLE = `
  .files { display: flex; flex-wrap: wrap; gap: 8px; min-width: 0; padding: 0; list-style: none; }
  .you .files { margin-top: .5em; }
  .file { display: flex; flex-direction: column; max-width: 100%; min-width: 0; font-size: .88em; line-height: 1.35; }
  .file-card, .bob .file-open { display: flex; align-items: center; gap: 8px; min-width: 0; padding: 5px 9px 5px 5px; border: 1px solid var(--line); border-radius: 10px; background: var(--raised); font-size: 1em; text-align: start; }
  .bob .file-open:disabled { opacity: 1; }
  .file-face { display: grid; flex: none; place-content: center; min-width: 2.4em; min-height: 2.4em; color: var(--faint); }
  .file-face canvas { display: block; max-width: 100%; border-radius: 6px; }
  .file-name { overflow: hidden; min-width: 0; max-width: 15em; text-overflow: ellipsis; white-space: nowrap; }
  .file-size { flex: none; color: var(--faint); font-size: .9em; }
  .file-problem { max-width: 30em; padding: 2px 4px 0; color: var(--bad); font-size: .95em; overflow-wrap: anywhere; }
  .file-heard { color: var(--faint); }
  .bob .pictured { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 4px 8px; padding: 5px; }
  .pictured .file-face { grid-column: 1 / -1; justify-content: start; }
  .tray { max-height: 30vh; padding: 0 6px 8px; overflow: hidden auto; }
  .bob .file-remove { display: grid; flex: none; place-content: center; width: 2em; height: 2em; margin-inline-end: -5px; padding: 0; border: 0; background: none; color: var(--faint); font-size: 1em; }
  .bob .file-remove:hover { background: var(--sunken); color: var(--ink); }
  .you progress { display: block; width: 100%; height: 6px; margin-top: .6em; accent-color: var(--accent); }
  .drop { position: absolute; inset: 10px; display: flex; align-items: center; justify-content: center; gap: 8px; border: 2px dashed var(--accent); border-radius: 14px; background: var(--paper); opacity: .94; pointer-events: none; }
`;

/** What the parts need in common: `limits` and `fetch` give what may be sent and what is kept of a file with an id,
 * `notice` and `announce` tell people something, and `focus` goes to where they write. */
export class Handling {
  constructor(root, given) {
    Object.assign(this, given, { words: { ...en, ...given.words } });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    const tree = root.getRootNode();
    tree.adoptedStyleSheets = [...tree.adoptedStyleSheets, sheet];
  }

  /** Those that are to be sent. */
  tray(place) {
    return new Tray(this, place);
  }

  /** Says, behind `place`, that files may be dropped here, while somebody is about to. */
  invite(place, isOver) {
    if (!this.invitation) {
      this.invitation = h("p", { class: "drop", hidden: true }, icon("attach"), this.words.drop);
      place.after(this.invitation);
    }
    this.invitation.hidden = !isOver;
  }

  /** Those of a question. */
  shelf(place) {
    return new Shelf(this, place);
  }

  list(place, name) {
    const list = h("ul", { class: `files ${name}`, "aria-label": this.words.files, hidden: true });
    place.append(list);
    return list;
  }

  size(bytes) {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
    const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 3);
    const format = { style: "unit", unit: units[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: 1 };
    return new Intl.NumberFormat(this.language, format).format(bytes / 1000 ** power);
  }
}

class Tray {
  #handling;
  #list;
  #items = new Map(); // what shows each file

  constructor(handling, place) {
    this.#handling = handling;
    this.#list = handling.list(place, "tray");
  }

  get isFull() {
    return this.#items.size > 0;
  }

  /** Takes in what may be sent, and says why something may not. */
  async add(files, isNew) {
    const { words, notice, announce } = this.#handling;
    const added = [];
    let problem = "";
    for (const file of files) {
      const why = await this.#problemWith(file);
      if (!why) {
        added.push(file.name);
        this.#show(file);
      }
      problem ||= why;
    }
    if (problem) notice(problem);
    else if (isNew) announce(words.attached(added.join(", ")));
  }

  /** All that are in it, which is empty after that. */
  take() {
    const files = [...this.#items.keys()];
    this.#items.clear();
    this.#list.replaceChildren();
    this.#list.hidden = true;
    return files.map((file) => ({ name: file.name, size: file.size, file }));
  }

  async #problemWith(file) {
    const { words, limits } = this.#handling;
    const size = (bytes) => this.#handling.size(bytes);
    const { files: most, bytes_of_a_file: ofOne, bytes_of_a_question: ofAll } = limits();
    const together = [...this.#items.keys()].reduce((sum, each) => sum + each.size, file.size);
    if (file.size > ofOne) return words.tooLarge(file.name, size(ofOne));
    if (this.#items.size >= most) return words.tooMany(most);
    if (together > ofAll) return words.tooLargeTogether(size(ofAll));
    return (await unreadable([{ file }])) ? words.unreadable(file.name) : "";
  }

  #show(file) {
    const { words } = this.#handling;
    const face = h("span", { class: "file-face" }, icon("file"));
    const label = words.remove(file.name);
    const remove = h("button", { type: "button", class: "file-remove", "aria-label": label, title: label }, icon("close"));
    const item = h("li", { class: "file" }, h("span", { class: "file-card" }, face, ...named(this.#handling, file), remove));
    remove.addEventListener("click", () => this.#remove(file));
    this.#items.set(file, item);
    this.#list.append(item);
    this.#list.hidden = false;
    if (isPicture(file.type)) draw(file, face, SMALL);
  }

  #remove(file) {
    const item = this.#items.get(file);
    const next = item.nextElementSibling ?? item.previousElementSibling;
    this.#items.delete(file);
    item.remove();
    this.#list.hidden = !this.#items.size;
    if (next) next.querySelector("button").focus();
    else this.#handling.focus();
    this.#handling.announce(this.#handling.words.removed(file.name));
  }
}

class Shelf {
  #handling;
  #list;
  #sending;
  #items = new Map(); // what shows each file
  #watch = new IntersectionObserver((seen) => this.#fetch(seen.filter(({ isIntersecting }) => isIntersecting)));
  #unseen = new Map(); // files that are to be fetched once they are seen, by their faces

  constructor(handling, place) {
    this.#handling = handling;
    this.#list = handling.list(place, "sent");
    this.#sending = h("progress", { max: "1", "aria-label": handling.words.sending, hidden: true });
    place.append(this.#sending);
  }

  /** `sent`: how much of them is, from 0 to 1, or null. */
  show({ files, sent }) {
    this.#list.hidden = !files.length;
    this.#sending.hidden = sent === null || sent === 1;
    this.#sending.value = sent ?? 0;
    for (const [file, { item }] of this.#items) {
      if (files.includes(file)) continue;
      item.remove();
      this.#items.delete(file);
    }
    for (const file of files) this.#update(file, this.#items.get(file) ?? this.#add(file));
  }

  #add(file) {
    const { words } = this.#handling;
    const face = h("span", { class: "file-face" }, icon("file"));
    const open = h("button", { type: "button", class: "file-open", click: () => this.#save(file) }, face);
    open.append(...named(this.#handling, file));
    open.setAttribute("aria-label", words.save(file.name));
    open.title = words.save(file.name);
    const problem = h("p", { class: "file-problem", dir: "auto", hidden: true });
    const item = h("li", { class: "file" }, open, problem);
    const shown = { item, open, problem, face };
    this.#items.set(file, shown);
    this.#list.append(item);
    if (file.file && isPicture(file.file.type)) this.#draw(file.file, face);
    else if (file.kind === "picture" && file.id) {
      this.#unseen.set(face, file);
      this.#watch.observe(face);
    }
    return shown;
  }

  #update(file, { open, problem }) {
    open.disabled = !file.id;
    problem.hidden = !(file.problem || file.heard);
    problem.classList.toggle("file-heard", !file.problem);
    problem.textContent = file.problem ? this.#handling.words.notRead(file.problem) : file.heard ? `🎙 ${file.heard}` : "";
  }

  #fetch(seen) {
    for (const { target } of seen) {
      const file = this.#unseen.get(target);
      this.#watch.unobserve(target);
      this.#unseen.delete(target);
      if (file) this.#handling.fetch(file.id).then((blob) => this.#draw(blob, target)).catch(() => {}); // its name stays
    }
  }

  async #draw(blob, face) {
    if (await draw(blob, face, LARGE)) face.parentNode.classList.add("pictured");
  }

  async #save(file) {
    try {
      const blob = await this.#handling.fetch(file.id);
      const suffix = SUFFIXES[blob.type] ?? ".txt";
      const download = file.name.toLowerCase().endsWith(suffix) ? file.name : file.name + suffix;
      const href = URL.createObjectURL(blob);
      h("a", { href, download }).click();
      setTimeout(() => URL.revokeObjectURL(href), SECONDS_TO_SAVE * 1000);
    } catch {
      this.#handling.notice(this.#handling.words.noFile(file.name));
    }
  }
}

function named(handling, { name, size }) {
  return [
    h("span", { class: "file-name", dir: "auto", title: name }, name),
    h("span", { class: "file-size" }, handling.size(size)),
  ];
}

function isPicture(type) {
  return /^image\/(png|jpeg|gif|webp)$/.test(type);
}

/** Draws a picture in place of what is in `face`, within a width and a height. False where it is none. */
async function draw(blob, face, [width, height]) {
  let picture;
  try {
    picture = await createImageBitmap(blob);
  } catch {
    return false;
  }
  const scale = Math.min(width / picture.width, height / picture.height, 1);
  const canvas = h("canvas", { "aria-hidden": "true" });
  canvas.width = Math.max(1, Math.min(picture.width, Math.round(picture.width * scale * SHARPNESS)));
  canvas.height = Math.max(1, Math.min(picture.height, Math.round(picture.height * scale * SHARPNESS)));
  canvas.style.setProperty("width", `${Math.max(1, Math.round(picture.width * scale))}px`);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  face.replaceChildren(canvas);
  return true;
}

/** The first of some files that cannot be read: it is a folder, or somebody has moved or changed it since. */
async function unreadable(files) {
  for (const each of files) {
    try {
      await each.file.slice(0, 1).arrayBuffer();
    } catch {
      return each;
    }
  }
  return null;
}

/**
 * Posts a form of `fields` and `files`, and tells `noted` how much of it is sent (0 to 1), as fetch cannot. What comes
 * back has a `body`, which comes piece by piece.
 */
export async function upload(url, { headers, signal, fields, files, words, noted }) {
  const gone = await unreadable(files);
  if (gone) throw new Refusal({ ...en, ...words }.unreadable(gone.name), 422);
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.append(name, value);
  for (const { file } of files) form.append("files", file);
  const request = new XMLHttpRequest();
  request.open("POST", url);
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  return new Promise((resolve, reject) => {
    let pieces;
    let length = 0;
    const body = new ReadableStream({ start: (to) => (pieces = to), cancel: () => request.abort() });
    const isOk = () => request.status >= 200 && request.status < 300;
    const take = () => {
      const piece = request.responseText.slice(length);
      length += piece.length;
      if (piece && isOk()) pieces.enqueue(piece);
    };
    const broken = () => {
      const problem = new TypeError("the connection was lost");
      reject(problem);
      pieces.error(problem);
    };
    request.upload.addEventListener("progress", ({ loaded, total }) => noted(total ? loaded / total : 0));
    request.upload.addEventListener("load", () => noted(1));
    request.addEventListener("readystatechange", () => {
      if (request.readyState === 2 && isOk()) resolve({ body: body.pipeThrough(new TextEncoderStream()) });
    });
    request.addEventListener("progress", take);
    request.addEventListener("load", () => {
      take();
      if (!isOk()) reject(refusal(request.responseText, request.status, request.getResponseHeader("Retry-After")));
      pieces.close();
    });
    for (const event of ["error", "abort"]) request.addEventListener(event, broken);
    if (signal.aborted) broken();
    else {
      signal.addEventListener("abort", () => request.abort());
      request.send(form);
    }
  });
}
