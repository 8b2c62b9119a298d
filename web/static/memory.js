// What this browser remembers: which session goes on, which questions are still to be answered, and which conversations
// there were. All tabs share it.

const EMPTY = { session: null, running: [], list: [] };
const MOST = 200; // conversations
const LONGEST_TITLE = 80;
const LONGEST_DRAFT = 50_000; // characters, since it is stored with each that is typed

export class Memory {
  #name;
  #state = EMPTY;
  #lasts = true;

  /** `changed` is called when another tab has changed something, with whether nothing is left of it all. */
  constructor(name, changed) {
    this.#name = name;
    this.#read();
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    addEventListener(
      "storage",
      (event) => {
        if (event.key !== null && event.key !== name) return;
        this.#read();
        changed(event.newValue === null);
      },
      { signal },
    );
  }

  /** Whether anything outlives the page. */
  get lasts() {
    return this.#lasts;
  }

  /** Whether nothing was ever remembered. */
  get isNew() {
    return this.#state === EMPTY;
  }

  get session() {
    return this.#state.session;
  }

  /** Questions without an end: `{key, text, turn, files, session}`, where `files` is whether any came with it. */
  get running() {
    return this.#state.running;
  }

  /** Conversations, the newest first: `{session, title, at}`. */
  get list() {
    return this.#state.list;
  }

  /** Takes up a session, unless another tab has done so in the meantime. Gives the one that goes on. */
  begin(session) {
    this.#change((state) => ({ ...state, session: state.session ?? session }));
    return this.session;
  }

  /** Goes on with a session. */
  goOnWith(session) {
    this.#change((state) => ({ ...state, session }));
  }

  /** Begins anew. What was being asked can be read where it was asked; here nothing of it stays. */
  leave(session) {
    const rest = (entry) => ((entry.session ?? session) === session ? left(entry) : [entry]);
    this.#change((state) => ({ ...state, session: null, running: state.running.flatMap(rest) }));
  }

  /** Remembers nothing of a session any more. */
  forget(session) {
    this.#change((state) => ({
      session: state.session === session ? null : state.session,
      running: state.running.filter((entry) => entry.session !== session),
      list: state.list.filter((entry) => entry.session !== session),
    }));
  }

  /** Calls a conversation by its first question, unless it is called something. */
  title(session, question) {
    if (this.list.some((entry) => entry.session === session && entry.title)) return;
    this.#change((state) => (isListed(state, session) ? state : listed(state, session)));
    this.rename(session, question);
  }

  /** Learns from Bob which conversations there are: the newest ones, or with `isAll` all of them. */
  learn(told, isAll) {
    const asked = told.filter(({ asked_at: at }) => at);
    this.#change((state) => {
      const known = state.list.filter(({ session }) => !isAll || asked.some((each) => each.session_id === session));
      const others = asked.filter((each) => !isListed(state, each.session_id));
      const added = others.map((each) => ({
        session: each.session_id,
        title: oneLine(each.title ?? ""),
        at: Date.parse(each.asked_at),
      }));
      return { ...state, list: [...known, ...added].sort((one, other) => other.at - one.at).slice(0, MOST) };
    });
  }

  rename(session, text) {
    const title = oneLine(text);
    const list = (state) => state.list.map((entry) => (entry.session === session ? { ...entry, title } : entry));
    this.#change((state) => ({ ...state, list: list(state) }));
  }

  /** Forgets everything. */
  end() {
    this.#state = EMPTY;
    try {
      localStorage.removeItem(this.#name);
    } catch {
      // There was nothing, then.
    }
  }

  /** Remembers a question that is being asked. Once Bob has it, there is a conversation. */
  note(question) {
    const { key, turn, session } = question;
    this.#change((state) => ({
      ...(turn ? listed(state, session) : state),
      running: [...state.running.filter((entry) => entry.key !== key), question],
    }));
  }

  ended(key) {
    if (!this.running.some((entry) => entry.key === key)) return;
    this.#change((state) => ({ ...state, running: state.running.filter((entry) => entry.key !== key) }));
  }

  #change(how) {
    this.#read();
    this.#state = how(this.#state);
    try {
      localStorage.setItem(this.#name, JSON.stringify(this.#state));
    } catch {
      this.#lasts = false;
    }
  }

  #read() {
    if (!this.#lasts) return;
    try {
      this.#state = checked(JSON.parse(localStorage.getItem(this.#name)));
    } catch (problem) {
      if (problem instanceof SyntaxError) this.#state = EMPTY;
      else this.#lasts = false;
    }
  }
}

/** Forgets what is remembered under names that begin so, but for one. */
export function forgetAllBut(name, beginning) {
  try {
    const others = Object.keys(localStorage).filter((each) => each.startsWith(beginning) && each !== name);
    for (const each of others) localStorage.removeItem(each);
  } catch {
    // There is nothing, then.
  }
}

/** What is typed and not sent yet, for as long as its tab is open. */
export class Draft {
  #name;

  constructor(name) {
    this.#name = name;
  }

  get text() {
    try {
      return sessionStorage.getItem(this.#name) ?? "";
    } catch {
      return "";
    }
  }

  set text(text) {
    try {
      if (text && text.length <= LONGEST_DRAFT) sessionStorage.setItem(this.#name, text);
      else sessionStorage.removeItem(this.#name);
    } catch {
      // It is lost with the page, then.
    }
  }
}

/** What is stored may be anybody's: in a widget the page's own scripts can write there, too. */
function checked(stored) {
  if (!stored || typeof stored !== "object") return EMPTY;
  const session = typeof stored.session === "string" ? stored.session : null;
  const among = (entries, isRight) => (Array.isArray(entries) ? entries.filter((entry) => entry && isRight(entry)) : []);
  const running = among(stored.running, ({ key, text }) => typeof key === "string" && typeof text === "string");
  return {
    session,
    running: running.map((entry) => ({ session, ...entry })),
    list: among(stored.list, ({ session, title }) => typeof session === "string" && typeof title === "string"),
  };
}

function oneLine(title) {
  return title.trim().replace(/\s+/g, " ").slice(0, LONGEST_TITLE);
}

function isListed({ list }, session) {
  return list.some((entry) => entry.session === session);
}

/** With this session as the newest conversation. */
function listed(state, session) {
  const known = state.list.find((entry) => entry.session === session);
  const others = state.list.filter((entry) => entry !== known);
  return { ...state, list: [{ title: "", ...known, session, at: Date.now() }, ...others].slice(0, MOST) };
}

/** What stays of a question whose conversation is left: nothing that was said, as it may have been a password. */
function left({ key, turn, session }) {
  return turn && session ? [{ key, text: "", turn, session }] : [];
}
