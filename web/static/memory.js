// What this browser remembers: which session goes on, and which questions are still to be answered.
// All tabs share it.

const EMPTY = { session: null, running: [] };

export class Memory {
  #name;
  #state = EMPTY;
  #lasts = true;

  /** `changed` is called when another tab has changed something. */
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
        changed();
      },
      { signal },
    );
  }

  /** Whether anything outlives the page. */
  get lasts() {
    return this.#lasts;
  }

  get session() {
    return this.#state.session;
  }

  /** Questions without an end: `{key, text, turn, files}`, which last is whether any came with it. */
  get running() {
    return this.#state.running;
  }

  /** Takes up a session, unless another tab has done so in the meantime. Gives the one that goes on. */
  begin(session) {
    this.#change((state) => ({ ...state, session: state.session ?? session }));
    return this.session;
  }

  /** Begins anew. */
  leave() {
    this.#change(() => EMPTY);
  }

  note({ key, text, turn, files }) {
    this.#change((state) => ({
      ...state,
      running: [...state.running.filter((entry) => entry.key !== key), { key, text, turn, files }],
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

/** What is stored may be anybody's: in a widget the page's own scripts can write there, too. */
function checked(stored) {
  if (!stored || typeof stored !== "object") return EMPTY;
  const session = typeof stored.session === "string" ? stored.session : null;
  const running = Array.isArray(stored.running) ? stored.running : [];
  return {
    session,
    running: running.filter((entry) => typeof entry?.key === "string" && typeof entry.text === "string"),
  };
}
