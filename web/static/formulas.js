// What Markdown would damage is put aside before it is read: formulas become characters that mean nothing to it.

const BEGIN = "\ufdd0"; // of a number that stands for a formula; characters that no text may have
const END = "\ufdd1";
const GAP = "\u1680"; // a space that nobody writes, by which `**` ends where Markdown wants a space or a full stop
const RESERVED = /[\ufdd0\ufdd1\u1680]/;
const MARKS = /\ufdd0(\d+)\ufdd1|\u1680/g;
const LONGEST = 2000; // characters of a formula
const LONGEST_IN_LINE = 400; // of one between single dollars
const BESIDE_MONEY = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{N}$\\]/u;
const ENVIRONMENT = /\\begin\{((?:equation|align|alignat|gather|multline|eqnarray)\*?)\}/y;
const OPENERS = /^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})|`+|\\[^]|\${1,3}/gm;
const CLOSERS = { "\\(": "\\)", "\\[": "\\]", $$: "$$", $: "$" };
const OPERATORS = /[\\^_={}<>+*/|]/;
const EAST_ASIAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;
const PUNCTUATION = /[\p{P}\p{S}]/u;

/** Formulas by number, so that the same one is always the same characters. */
export class Formulas {
  #all = [];
  #numbers = new Map();

  /** The text with its formulas put aside, and with stars that end what they begin among East Asian letters. */
  hidden(text) {
    if (RESERVED.test(text)) return text;
    return freed(/[$\\]/.test(text) ? this.#withoutFormulas(text) : text);
  }

  /** What was written. */
  written(text) {
    return text.replace(MARKS, (_, number) => (number ? this.#all[number].source : ""));
  }

  /** Texts and formulas `{ source, tex, isBlock }`, in the order in which they were written. */
  parts(text) {
    const parts = [];
    let last = 0;
    for (const { 0: mark, 1: number, index } of text.matchAll(MARKS)) {
      parts.push(text.slice(last, index), number ? this.#all[number] : "");
      last = index + mark.length;
    }
    parts.push(text.slice(last));
    return parts.filter((part) => part !== "");
  }

  #withoutFormulas(text) {
    let [out, last] = ["", 0];
    for (const { source, tex, isBlock, index } of formulasOf(text)) {
      if (!this.#numbers.has(source)) this.#numbers.set(source, this.#all.push({ source, tex, isBlock }) - 1);
      out += `${text.slice(last, index)}${BEGIN}${this.#numbers.get(source)}${END}`;
      last = index + source.length;
    }
    return out + text.slice(last);
  }
}

/** Where the formula begins that the end of the text is in, or -1. */
export function openFormula(text) {
  if (!/\$\$|\\[[(]/.test(text)) return -1;
  const found = formulasOf(text, true).find(({ isOpen }) => isOpen);
  return found ? found.index : -1;
}

function formulasOf(text, withOpen = false) {
  const found = [];
  const ahead = new Finder(text);
  OPENERS.lastIndex = 0;
  for (let match; (match = OPENERS.exec(text)); ) {
    const { 0: opener, 1: fence, index } = match;
    const lineEnd = ahead.next("\n", OPENERS.lastIndex, text.length);
    if (fence && !(fence[0] === "`" && text.slice(OPENERS.lastIndex, lineEnd).includes("`"))) OPENERS.lastIndex = endOfFence(text, fence, OPENERS.lastIndex);
    else if (opener[0] === "`") {
      const end = ahead.next(opener, OPENERS.lastIndex);
      if (end >= 0 && end < lineEnd) OPENERS.lastIndex = end + opener.length;
    } else if (opener in CLOSERS || opener === "\\b") {
      const formula = opener === "\\b" ? environmentAt(text, index, ahead) : formulaAt(text, opener, index, ahead);
      if (formula) {
        found.push(formula);
        OPENERS.lastIndex = index + formula.source.length;
      } else if (withOpen && opener in CLOSERS && opener !== "$" && isOpenFrom(index + 2, CLOSERS[opener], ahead)) {
        found.push({ index, isOpen: true });
        return found;
      }
    }
  }
  return found;
}

/** Finds the next place of a string from growing places on, without ever looking twice at the same characters. */
class Finder {
  #next = new Map();

  constructor(text) {
    this.text = text;
  }

  next(what, from, otherwise = -1) {
    let at = this.#next.get(what);
    if (at === undefined || (at >= 0 && at < from)) {
      at = this.text.indexOf(what, from);
      this.#next.set(what, at);
    }
    return at < 0 ? otherwise : at;
  }
}

function isOpenFrom(from, closer, ahead) {
  return ahead.next("\n\n", from) < 0 && ahead.next(closer, from) < 0 && ahead.text.length - from <= LONGEST;
}

function formulaAt(text, opener, index, ahead) {
  const from = index + opener.length;
  const closer = CLOSERS[opener];
  let end = ahead.next(closer, from);
  if (opener === "$") end = dollarBetween(text, index, ahead.next("\n", from, text.length));
  if (end < 0 || end - from > LONGEST || end > ahead.next("\n\n", from, text.length)) return null;
  const tex = text.slice(from, end);
  if (!isFormula(tex, opener)) return null;
  const source = text.slice(index, end + closer.length);
  return { source, tex: unquoted(text, index, tex), isBlock: opener === "\\[" || opener === "$$", index };
}

/** What stands without any brackets: `\\begin{align}`. */
function environmentAt(text, index, ahead) {
  ENVIRONMENT.lastIndex = index;
  const [begin, name] = ENVIRONMENT.exec(text) ?? [];
  if (!begin) return null;
  const closer = `\\end{${name}}`;
  const end = ahead.next(closer, index);
  if (end < 0 || end - index > LONGEST || end > ahead.next("\n\n", index, text.length)) return null;
  const source = text.slice(index, end + closer.length);
  return { source, tex: unquoted(text, index, source), isBlock: true, index };
}

/** The `$` that ends what one begins, as Pandoc has it: no space within, and no digit or letter around. */
function dollarBetween(text, index, lineEnd) {
  if (BESIDE_MONEY.test(text[index - 1] ?? "") || /\s/.test(text[index + 1] ?? " ")) return -1;
  const end = text.slice(0, Math.min(lineEnd, index + LONGEST_IN_LINE)).indexOf("$", index + 2);
  if (end < 0 || /[\s\\]/.test(text[end - 1])) return -1;
  const isCounted = /^(?:th|st|nd|rd)\b/.test(text.slice(end + 1, end + 4)); // the $n$th
  return isCounted || !BESIDE_MONEY.test(text[end + 1] ?? "") ? end : -1;
}

/** Whether it is no money, no words in brackets, and no names of variables of a shell. */
function isFormula(tex, opener) {
  if (!tex.trim()) return false;
  const isProse = /\p{L}{2,}[ ,;.]+\p{L}{2,}/u.test(tex);
  if (opener === "\\(") return OPERATORS.test(tex) || !isProse;
  if (opener === "\\[") return /[\\^=]/.test(tex) || (/^\s/.test(tex) && /\s$/.test(tex) && !isProse);
  if (/^[\d.,]+\s.*\p{L}{2,}/u.test(tex)) return tex.includes("\\");
  return OPERATORS.test(tex) || !(isProse || (opener === "$$" && /\p{L}{2,}/u.test(tex)));
}

/** A formula within a quote has its marks on each line. */
function unquoted(text, index, tex) {
  if (!tex.includes("\n>") && !tex.includes("\n ")) return tex;
  const isQuoted = /^[ \t]*>/.test(text.slice(text.lastIndexOf("\n", index) + 1, index));
  return isQuoted ? tex.replace(/\n[ \t]*>[ \t>]*/g, "\n") : tex;
}

function endOfFence(text, fence, from) {
  const closing = new RegExp(`\\n[ \\t>]*${fence[0]}{${fence.length},}[ \\t]*(?=\\n|$)`, "g");
  closing.lastIndex = from;
  return closing.exec(text) ? closing.lastIndex : text.length;
}

/**
 * Markdown lets stars end only before a space or a full stop if one stands before them, and East Asian texts have no
 * spaces: `**注意：**后面`. There a gap is put, which nobody sees.
 */
function freed(text) {
  if (!text.includes("*") || !EAST_ASIAN.test(text)) return text;
  return text.replace(/(\*{1,3})([^*\n]+)\1(?!\*)/g, (whole, stars, within, index) => {
    const [before, after] = [text[index - 1] ?? "", text[index + whole.length] ?? ""];
    if (/^\s|\s$/.test(within)) return whole;
    const begins = PUNCTUATION.test(within[0]) && EAST_ASIAN.test(before) ? GAP : "";
    const ends = PUNCTUATION.test(within.at(-1)) && EAST_ASIAN.test(after) ? GAP : "";
    return begins + whole + ends;
  });
}
