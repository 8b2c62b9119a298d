// Formulas as MathML, element by element.

import temml from "./vendor/temml.esm.js";

const NAMESPACE = "http://www.w3.org/1998/Math/MathML";
const MOST_KEPT = 500; // formulas
const TAGS = words(`math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace
  msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none`);
const ATTRIBUTES = words(`accent accentunder columnalign columnlines columnspacing columnspan depth display displaystyle
  fence form height largeop linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize
  movablelimits notation rowalign rowlines rowspacing rowspan rspace scriptlevel separator stretchy symmetric voffset
  width`);
const STYLES = words(`backgroundColor border borderBottom borderLeft borderRight borderTop color mathDepth padding
  paddingBottom paddingLeft paddingRight paddingTop textAlign`);

const kept = new Map(); // what was drawn before: a formula is drawn anew whenever its paragraph is

function words(text) {
  return new Set(text.split(/\s+/));
}

// Without a font for formulas no bracket grows. The kept one comes as bytes, so that no policy of a page need allow fonts.
const FONT = "Bob Math";
const LOCAL = ["Cambria Math", "STIX Two Math", "Latin Modern Math", "Noto Sans Math"];

async function loadFont() {
  const here = new FontFace(FONT, LOCAL.map((name) => `local("${name}")`).join());
  const kept = async () => {
    const reply = await fetch(new URL("vendor/noto-sans-math.woff2", import.meta.url), { credentials: "omit" });
    if (!reply.ok) throw new TypeError(`font: ${reply.status}`);
    return new FontFace(FONT, await reply.arrayBuffer()).load();
  };
  document.fonts.add(await here.load().catch(kept));
}
loadFont().catch(() => {}); // formulas can be read without

/** A formula in TeX as a node, or null where it cannot be drawn. */
export function drawn(tex, isBlock) {
  const key = `${isBlock} ${tex}`;
  if (!kept.has(key)) {
    if (kept.size >= MOST_KEPT) kept.clear();
    kept.set(key, made(tex, isBlock));
  }
  return kept.get(key)?.cloneNode(true) ?? null;
}

function made(tex, isBlock) {
  try {
    return node(temml.__renderToMathMLTree(tex, { displayMode: isBlock, throwOnError: true, trust: false, maxSize: [20, 20] }));
  } catch {
    return null;
  }
}

/** A node of theirs as one of ours. Raises an error where it is of a kind that is not known here. */
function node(given) {
  if (given.text !== undefined) return document.createTextNode(given.text);
  if (given.type === undefined || given.href !== undefined) {
    const fragment = document.createDocumentFragment();
    fragment.append(...given.children.map(node));
    return fragment;
  }
  if (!TAGS.has(given.type)) throw new TypeError(given.type);
  const element = document.createElementNS(NAMESPACE, given.type);
  for (const [name, value] of Object.entries(given.attributes)) {
    if (ATTRIBUTES.has(name)) element.setAttribute(name, value);
  }
  const names = given.classes.filter((name) => /^tml-[a-z]+$/.test(name));
  if (names.length) element.setAttribute("class", names.join(" "));
  for (const [name, value] of Object.entries(given.style)) {
    if (STYLES.has(name) && /^[-#.%\w ]{1,40}$/.test(value)) element.style[name] = value;
  }
  element.append(...given.children.map(node));
  return element;
}
