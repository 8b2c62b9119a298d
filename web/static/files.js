// Files: those that are to be sent with the next question, and those of questions in the conversation.
// It is fetched only when there are any. Pictures are drawn on canvases, which needs no leave of the page around a widget.

import { isReadable } from "./conversation.js";
import { h, icon } from "./dom.js";

const SMALL = [48, 48]; // how large a picture is shown, in pixels of the page
const LARGE = [280, 200];
const SHARPNESS = 2; // times as many pixels are drawn, for screens that have them
const SUFFIXES = { "image/png": ".png", "image/jpeg": ".jpg", "application/pdf": ".pdf" };
const SECONDS_TO_SAVE = 60;

/** What the parts need in common. `fetch` gives what is kept of a file with an id, and `notice` tells what fails. */
export class Handling {
  constructor(words, language, fetch, notice) {
    Object.assign(this, { words, language, fetch, notice });
  }

  /** Those that are to be sent, in `list`. `left` is called when the last one is taken out of it by hand. */
  tray(list, limits, { announce, left }) {
    return new Tray(this, list, limits, announce, left);
  }

  /** Those of a question, in `list`. */
  shelf(list) {
    return new Shelf(this, list);
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
  #limits;
  #announce;
  #left;
  #items = new Map(); // what shows each file

  constructor(handling, list, limits, announce, left) {
    this.#handling = handling;
    this.#list = list;
    this.#limits = limits;
    this.#announce = announce;
    this.#left = left;
  }

  get isFull() {
    return this.#items.size > 0;
  }

  /** Takes in what may be sent, and says why something may not. */
  async add(files, isNew) {
    const { words, notice } = this.#handling;
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
    else if (isNew) this.#announce(words.attached(added.join(", ")));
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
    const { words } = this.#handling;
    const size = (bytes) => this.#handling.size(bytes);
    const { files: most, bytes_of_a_file: ofOne, bytes_of_a_question: ofAll } = this.#limits;
    const together = [...this.#items.keys()].reduce((sum, each) => sum + each.size, file.size);
    if (file.size > ofOne) return words.tooLarge(file.name, size(ofOne));
    if (this.#items.size >= most) return words.tooMany(most);
    if (together > ofAll) return words.tooLargeTogether(size(ofAll));
    return (await isReadable(file)) ? "" : words.unreadable(file.name);
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
    else this.#left();
    this.#announce(this.#handling.words.removed(file.name));
  }
}

class Shelf {
  #handling;
  #list;
  #items = new Map(); // what shows each file
  #watch = new IntersectionObserver((seen) => this.#fetch(seen.filter(({ isIntersecting }) => isIntersecting)));
  #unseen = new Map(); // files that are to be fetched once they are seen, by their faces

  constructor(handling, list) {
    this.#handling = handling;
    this.#list = list;
  }

  show(files) {
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
    problem.hidden = !file.problem;
    problem.textContent = file.problem ? this.#handling.words.notRead(file.problem) : "";
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
