// Nodes, made without ever parsing a string as HTML.

/** An element. `given` are its attributes; functions among them listen, and null, undefined and false leave one out. */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  // First, since what has dir="auto" is searched for its direction anew with each child that it gets.
  element.append(...children.filter((child) => child != null));
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value != null && value !== false) element.setAttribute(name, value);
  }
  return element;
}

/**
 * What is to be known of a node before another takes its place: `kind`, without which neither is the other; `isWhole`,
 * if what is in it is nobody else's business; and `changed`, which is called when something in it has.
 */
export const traits = new WeakMap();

/** Makes of a node what a fresh one is, if it can be done without losing it: then it is returned, else the fresh one. */
export function become(old, fresh) {
  const [{ kind, isWhole, changed } = {}, { kind: wanted } = {}] = [traits.get(old), traits.get(fresh)];
  if (old.nodeName !== fresh.nodeName || kind !== wanted) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (isWhole) return old;
  if (old.nodeType === Node.TEXT_NODE) {
    // What is only added to stays selected.
    if (old.data === fresh.data) return old;
    if (fresh.data.startsWith(old.data)) old.appendData(fresh.data.slice(old.data.length));
    else old.data = fresh.data;
    return old;
  }
  const names = old.getAttributeNames();
  if (names.join() !== fresh.getAttributeNames().join()) for (const name of names) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    if (at) at = become(at, child).nextSibling;
    else old.append(child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
  changed?.();
  return old;
}

const SHAPES = {
  bob: "M10.5 11.5v3.2M17.5 11.5v3.2M9.5 18.6q4.5 3.8 9 0",
  fresh: "M14 5.5H8A2.5 2.5 0 0 0 5.5 8v12A2.5 2.5 0 0 0 8 22.5h12a2.5 2.5 0 0 0 2.5-2.5v-6M21 4.6l2.4 2.4-8.6 8.6-3 .6.6-3z",
  erase: "M5.5 8h17M11 8V5.5h6V8M8 8l.9 14.5h10.2L20 8M12 12v6.5M16 12v6.5",
  close: "M7.5 7.5l13 13M20.5 7.5l-13 13",
  send: "M14 22V6.5M7.5 13 14 6.5l6.5 6.5",
  stop: "M9 9h10v10H9z",
  down: "M14 6v15.5M7.5 15l6.5 6.5 6.5-6.5",
  list: "M6 8h16M6 14h16M6 20h10",
  person: "M14 13.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8M6 22.5c.6-4 3.8-6 8-6s7.4 2 8 6",
  rename: "M6 22l1-4.5L18.5 6l3.5 3.5L10.5 21z",
  attach: "M20.5 13.5l-7 7a4.6 4.6 0 0 1-6.5-6.5l8-8a3 3 0 0 1 4.3 4.3l-7.6 7.6a1.4 1.4 0 0 1-2-2l6.8-6.9",
  file: "M8 4.5h8l5 5v14H8zM16 4.5v5h5",
  thumb: "M10 12.5v9.5M10 12.5l4-7.5c1.7 0 2.7 1.3 2.4 2.9l-.7 3.6h4.8c1.4 0 2.3 1.2 2 2.5l-1.5 6c-.3 1.2-1.2 2-2.4 2H6.5v-9.5z",
  lock: "M8 13h12v9H8zM10.5 13v-3a3.5 3.5 0 0 1 7 0v3",
};

/** A line drawing that is part of what stands beside it, so that screen readers skip it. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [attribute, value] of Object.entries({ viewBox: "0 0 28 28", class: "icon", "aria-hidden": "true" })) {
    svg.setAttribute(attribute, value);
  }
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/** Puts text on the clipboard. Without https there is no clipboard API, but what is selected can be copied. */
export async function copy(text, near) {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // a frame may not have the permission; the selection below needs none
    }
  }
  const area = h("textarea", { class: "unseen", readonly: true, tabindex: "-1", "aria-hidden": "true" });
  area.value = text;
  near.after(area);
  area.select();
  try {
    return document.execCommand("copy");
  } finally {
    area.remove();
    near.focus();
  }
}
