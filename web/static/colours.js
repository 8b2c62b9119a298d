// The colours of code. They are painted over its text, so that its nodes stay as they are, and what is selected in them.

import hljs from "./vendor/highlight.esm.js";

const LONGEST = 30_000; // characters of code that has colours
const LONGEST_LINE = 2000;
const KINDS = {};
for (const [kind, scopes] of Object.entries({
  comment: "comment doctag quote meta",
  string: "string regexp char addition link",
  keyword: "keyword selector-tag tag",
  number: "number literal symbol bullet",
  name: "title section name built_in type attr attribute property variable template-variable",
  deleted: "deletion",
})) {
  for (const scope of scopes.split(" ")) KINDS[scope] = kind;
}
const painted = new WeakMap(); // code, and what is painted on it

/** Paints code of a language, if it is a known one. */
export function paint(code, language) {
  for (const [highlight, range] of painted.get(code) ?? []) highlight.delete(range);
  painted.delete(code);
  const [text] = code.childNodes;
  if (!text || !hljs.getLanguage(language) || text.length > LONGEST) return;
  if (text.data.split("\n").some((line) => line.length > LONGEST_LINE)) return;
  const done = [];
  for (const [kind, from, to] of pieces(text.data, language)) {
    const highlight = highlightOf(kind);
    const range = new StaticRange({ startContainer: text, startOffset: from, endContainer: text, endOffset: to });
    highlight.add(range);
    done.push([highlight, range]);
  }
  painted.set(code, done);
}

function highlightOf(kind) {
  const name = `bob-${kind}`;
  if (!CSS.highlights.has(name)) CSS.highlights.set(name, new Highlight());
  return CSS.highlights.get(name);
}

/** What has a colour, and between which characters. */
function* pieces(text, language) {
  const tree = hljs.highlight(text, { language, ignoreIllegals: true })._emitter.rootNode;
  let at = 0;
  const walk = function* (node, kind) {
    if (typeof node === "string") {
      if (kind) yield [kind, at, at + node.length];
      at += node.length;
      return;
    }
    const scope = node.scope?.split(".")[0];
    for (const child of node.children) yield* walk(child, scope === "subst" ? null : KINDS[scope] ?? kind);
  };
  yield* walk(tree, null);
}
