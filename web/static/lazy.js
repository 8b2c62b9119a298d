// What takes a library of others to draw, which is fetched only when there is some: formulas, and the colours of code.

import { h, traits } from "./dom.js";

const PAUSE = 30; // ms that are spent on formulas at once
const SETTLED = 250; // ms after which code that grew has its colours
const SHORT = 4000; // characters of code that is coloured at once

const library = (load) => {
  let loading = null;
  return () => (loading ??= load().catch((problem) => ((loading = null), Promise.reject(problem))));
};
const mathematics = library(() => import("./math.js"));
const colours = library(() => import("./colours.js"));

let math = null; // once it is here
let waiting = []; // formulas that are to be drawn

/** A formula, as it is written until it is drawn. What cannot be drawn stays so. */
export function formulaNode({ source, tex, isBlock }) {
  const node = h("span", { class: isBlock ? "formula block" : "formula", dir: "ltr" }, source);
  traits.set(node, { kind: source, isWhole: true });
  if (!waiting.length) queueMicrotask(drawFormulas); // when it is known which nodes are used
  waiting.push({ node, tex, isBlock });
  return node;
}

async function drawFormulas() {
  waiting = waiting.filter(({ node }) => node.isConnected);
  if (!waiting.length) return;
  try {
    math ??= await mathematics();
  } catch {
    waiting = []; // the next formula tries again
    return;
  }
  const began = performance.now();
  while (waiting.length && performance.now() - began < PAUSE) {
    const { node, tex, isBlock } = waiting.shift();
    const drawn = math.drawn(tex, isBlock);
    if (drawn) node.replaceChildren(drawn);
  }
  if (waiting.length) setTimeout(drawFormulas);
}

/** Code, which gets its colours when it stops growing. */
export function codeNode(text, language) {
  const node = h("code", {}, text);
  if (!language) return node;
  let timer = null;
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(paint, node.textContent.length < SHORT ? 0 : SETTLED);
  };
  const paint = async () => {
    if (!node.isConnected || !window.CSS?.highlights) return;
    try {
      (await colours()).paint(node, language);
    } catch {
      // It can be read without.
    }
  };
  traits.set(node, { kind: language, changed });
  changed();
  return node;
}
