// Every word that the page says, in each of its languages: those in words/ are fetched by whom they are for.
// What is said in English of files stands in files.js, and of the list of conversations in list.js.

export const en = {
  hello: (name) => `Hello, I am ${name}.`,
  greeting: "Ask me anything. I remember our conversation when you come back with this browser.",
  conversation: "Conversation",
  you: "You",
  question: "Your question",
  placeholder: (name) => `Ask ${name}…`,
  hint: "Enter sends, Shift+Enter starts a new line.",
  send: "Send",
  stop: "Stop",
  stopping: "Stopping…",
  fresh: "New conversation",
  erase: "Delete conversation",
  eraseSure: "Delete this conversation for good, here and at the language model’s provider?",
  eraseYes: "Delete",
  eraseNo: "Keep",
  erased: "The conversation is deleted.",
  close: "Close",
  earlier: "Show earlier",
  newest: "To the newest",
  writing: (name) => `${name} is writing…`,
  noAnswer: "(Stopped before an answer.)",
  stopped: "Stopped here.",
  failed: "No complete answer",
  retry: "Try again",
  anew: "Ask again",
  change: "Change question",
  changing: "You are changing your last question.",
  changeNothing: "Leave it as it is",
  privateTurn: "A private question and its answer are not shown again.",
  lost: "The connection was lost.",
  busy: (name) => `${name} is busy.`,
  again: (seconds) => `Trying again in ${seconds} s…`,
  reconnecting: "Trying again…",
  unreachable: (name) => `${name} cannot be reached.`,
  broken: "Sorry, something went wrong.",
  noHistory: "The earlier conversation could not be loaded.",
  noStorage: "This browser stores nothing: reloading ends the conversation.",
  attach: "Attach files",
  filesGone: "The files are not at hand any more: please attach them again.",
  copyAnswer: "Copy answer",
  tooLong: (most) => `A question may have ${most} characters at most: nothing was inserted.`,
  good: "Good answer",
  bad: "Bad answer",
  why: "Why? (if you like)",
  thanks: "Thank you.",
  copy: "Copy",
  copied: "Copied",
  notCopied: "Not copied",
  code: "Code",
  table: "Table",
  image: "Image",
  begun: "A new conversation has begun.",
  undo: "Back to the last one",
  conversations: "Conversations",
  suggestions: "Questions to begin with",
  contact: "Talk to a person",
  unread: (count) => `New answers: ${count}`,
  done: "Done:",
  open: "To do:",
};

export const LANGUAGES = ["en", "de", "fr", "es", "pt", "ja", "ar", "he", "zh"];
const RIGHT_TO_LEFT = ["ar", "he"];

/** The first language of `wanted` (such as "de-AT") that there are words in, else English. */
export function languageOf(wanted) {
  return wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => LANGUAGES.includes(tag)) || "en";
}

export function directionOf(language) {
  return RIGHT_TO_LEFT.includes(language) ? "rtl" : "ltr";
}

/** That language and its words; English where they cannot be fetched. `texts` are said instead of what has their names. */
export async function wordsIn(wanted, texts = {}) {
  const language = languageOf(wanted);
  try {
    if (language !== "en") return { language, words: { ...(await import(`./words/${language}.js`)).default, ...worded(texts) } };
  } catch {
    // It is English, then.
  }
  return { language: "en", words: { ...en, ...worded(texts) } };
}

/** Words with parts, such as `{name}`. Where there are two parts, `{size}` is the second. */
export const WITH_PARTS = new Set(
  `hello placeholder writing busy again unreachable unread attached remove removed save tooLong tooMany tooLarge
  tooLargeTogether unreadable notRead noFile`.split(/\s+/),
);

function worded(texts) {
  const said = (text) => (...parts) => text.replace(/\{(\w+)\}/g, (_, name) => parts[name === "size" ? parts.length - 1 : 0]);
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, WITH_PARTS.has(name) ? said(text) : text]));
}
