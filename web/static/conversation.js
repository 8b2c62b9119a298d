// A conversation: its turns as far as they are known here, and those that are being answered.

import { Refusal } from "./api.js";

const PAUSES = [1, 2, 4, 8, 15]; // seconds before each try; the last goes on
const LONGEST_PAUSE = 120; // who is told to wait longer is told so
const REFUSED = new Set([400, 401, 403, 404, 405, 409, 413, 415, 422]);

/** One question and its answer. `state`: "running", "ended", "failed". */
class Turn {
  id = null;
  number = null;
  key = null;
  question = null;
  replaces = null; // the id of the turn whose place it takes, with the files of that
  text = "";
  error = null;
  assistant = null;
  outcome = null;
  isPrivate = false;
  rated = null; // whether its answer was found good, as Bob knows
  files = []; // each `{name, size}`, with its `file` where it is from here, and `{id, kind, problem}` once Bob has told
  withFiles = false; // as this browser remembers, even if nobody has told which
  sent = null; // how much of the files is, from 0 to 1, while they are
  link = null; // what its stream hangs on
  state = "running";
  stopping = false;
  following = false; // whether a stream of ours shows it
  lastEvent = null;
  movedOn = false;

  constructor(given) {
    Object.assign(this, given);
  }

  get isRunning() {
    return this.state === "running";
  }

  /** Whether it cannot be asked again from here. */
  get lacksFiles() {
    if (this.replaces) return false;
    return this.files.length ? this.files.some(({ file }) => !file) : this.withFiles;
  }
}

export class Conversation {
  turns = [];
  more = false;
  #api;
  #memory;
  #view;
  #words;
  #session = null; // the one whose turns these are
  #assistant; // who is asked: `{name, isChosen}`
  #stays = false; // with its session, though another one goes on elsewhere
  #era = new AbortController(); // ends when another conversation begins
  #wakers = new Set();
  #links = new Set(); // streams that are open
  #loading = null;

  /** `view` is told what happens: changed(), grew(turn), ended(turn), refused(turn, sentence), notice(text),
   * and troubled(isBusy, seconds) before another try. */
  constructor(api, memory, view, words, assistant) {
    this.#assistant = assistant;
    this.#api = api;
    this.#memory = memory;
    this.#view = view;
    this.#words = words;
  }

  get running() {
    return this.turns.find((turn) => turn.isRunning && (turn.id || turn.key));
  }

  /** The id of the conversation, by which its transcript is read; null until Bob has made one. */
  get session() {
    return this.#session;
  }

  get isEmpty() {
    return !this.turns.length;
  }

  /** Shows what is known of the conversation, goes on with what runs, and keeps trying while it cannot. */
  async open() {
    this.#session = this.#memory.session;
    const { signal } = this.#era;
    const remembered = this.#remembered;
    const cutOff = remembered.filter(({ turn, files }) => files && !turn);
    for (const entry of remembered) if (!cutOff.includes(entry)) this.#adopt(entry);
    this.#view.changed();
    for (let tries = 0; this.#session && !signal.aborted; tries++) {
      try {
        await this.#load();
        this.#view.notice("");
        break;
      } catch (problem) {
        if (signal.aborted || !this.#passes(problem)) {
          this.#view.notice(sentenceOf(problem) || this.#words.noHistory);
          break;
        }
        await this.#pause(tries, problem, signal);
      }
    }
    if (signal.aborted) return;
    for (const entry of cutOff) this.#giveBack(entry);
    this.#goOn();
  }

  /** Learns what other tabs and devices have done. */
  async refresh() {
    for (const wake of this.#wakers) wake();
    if (this.#memory.session !== this.#session && !this.#stays) {
      const begunHere = !this.#session && this.running;
      if (begunHere) return;
      this.#stays = !!this.running; // whoever reads it is not to lose it since a new one was begun elsewhere
    }
    if (this.#memory.session !== this.#session && !this.#stays) {
      this.#clear();
      await this.open();
      return;
    }
    if (!this.#session) return;
    const { signal } = this.#era;
    try {
      await this.#load();
    } catch {
      return; // it was not asked for
    }
    if (signal.aborted) return;
    for (const entry of this.#remembered) if (entry.turn) this.#adopt(entry);
    this.#goOn();
  }

  /** The network is another one: what is open may be dead without anybody having been told. */
  reconnect() {
    for (const link of this.#links) link.abort();
    this.refresh();
  }

  async earlier() {
    const { signal } = this.#era;
    const before = Math.min(...this.turns.map(({ number }) => number ?? Infinity));
    const page = await this.#api.turns(this.#session, before);
    if (signal.aborted) return;
    this.#merge(page.turns);
    this.more = page.more;
    this.#view.changed();
  }

  /** Whether another question may take its place: it is the last one, and Bob has said all that he will. */
  mayReplace(turn) {
    return !!turn.id && turn.state === "ended" && turn.question !== null && turn === this.turns.at(-1);
  }

  /** Asks; where another turn is to be `replaced`, with the files of that. */
  ask(question, files, replaced = null) {
    this.#stays = false;
    if (this.#session) this.#memory.goOnWith(this.#session);
    const given = replaced ? { replaces: replaced.id, files: replaced.files.map((file) => ({ ...file })) } : { files };
    const turn = new Turn({ question, key: random(), ...given });
    this.turns = [...this.turns.filter((other) => other !== replaced), turn];
    this.#note(turn);
    this.#view.changed();
    this.#follow(turn);
  }

  retry(turn) {
    if (turn.lacksFiles) {
      this.#view.refused({ ...turn, files: [] }, this.#words.filesGone);
      return;
    }
    if (!turn.key) turn = this.#askedAnew(turn);
    Object.assign(turn, { id: null, number: null, lastEvent: null, state: "running", stopping: false });
    Object.assign(turn, { text: "", error: null, outcome: null });
    this.turns = [...this.turns.filter((other) => other !== turn), turn];
    this.#note(turn);
    this.#view.changed();
    this.#follow(turn);
  }

  /** What is kept of a file of a turn, as a Blob. */
  file(id) {
    return this.#api.file(this.#session, id);
  }

  /** Tells Bob what somebody thinks of an answer. */
  rate(turn, thumb) {
    return this.#api.rate(turn.id, thumb);
  }

  stop() {
    for (const turn of this.turns.filter(({ isRunning }) => isRunning)) {
      turn.stopping = true;
      if (turn.sent !== null && turn.sent < 1) turn.link.abort(); // it cannot have been asked yet
      this.#requestStop(turn);
    }
    this.#view.notice(this.#words.stopping);
    for (const wake of this.#wakers) wake();
  }

  /** Leaves this conversation for a new one. What runs goes on: it can be read later. Gives what was left. */
  begin() {
    const session = this.#session;
    this.#memory.leave(session);
    this.#clear();
    return session;
  }

  /** Leaves this conversation for another one. */
  async goOnWith(session) {
    this.#memory.leave(this.#session);
    this.#memory.goOnWith(session);
    this.#clear();
    await this.open();
  }

  /** Erases a conversation; by default this one. */
  async erase(session = this.#session ?? this.#memory.session) {
    try {
      if (session) await this.#api.erase(session);
    } catch (problem) {
      if (problem.status !== 404) throw problem;
    }
    this.#memory.forget(session);
    if (session === this.#session) this.#clear();
  }

  /** Ends what is under way in this page, and nothing elsewhere. */
  close() {
    this.#era.abort();
  }

  /** Forgets everything, here and in what this browser remembers. */
  end() {
    this.#memory.end();
    this.#clear();
  }

  // ── the transcript ───────────────────────────────────────────────────────

  #clear() {
    this.#era.abort();
    this.#era = new AbortController();
    this.#wakers.clear();
    this.#loading = null;
    this.#session = this.#memory.session;
    this.#stays = false;
    this.turns = [];
    this.more = false;
    this.#view.notice("");
    this.#view.changed();
  }

  /** Reads the newest turns; whoever asks while it does so gets a reading that began later. */
  #load() {
    if (this.#loading) {
      this.#loading.again = true;
      return this.#loading.done;
    }
    const loading = { again: true };
    const read = async () => {
      try {
        while (loading.again) {
          loading.again = false;
          await this.#loadNow();
        }
      } finally {
        if (this.#loading === loading) this.#loading = null;
      }
    };
    this.#loading = loading;
    loading.done = read();
    return loading.done;
  }

  async #loadNow() {
    const { signal } = this.#era;
    const session = this.#session;
    if (!session) return;
    try {
      const page = await this.#api.turns(session);
      if (signal.aborted) return;
      const known = this.turns.some(({ number }) => number !== null);
      this.#merge(page.turns, { newest: true });
      if (!known) this.more = page.more;
      const first = this.turns.find(({ number, question, isPrivate }) => number !== null && question && !isPrivate);
      if (first && !this.more) this.#memory.title(session, first.question);
      this.#view.changed();
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status !== 404) throw problem;
      // It was deleted elsewhere, or it has expired.
      this.#memory.forget(session);
      this.#clear();
    }
  }

  /** Makes ours what the server says of some turns. */
  #merge(told, { newest = false } = {}) {
    const isAskedAgain = (each, at) => each.error && each.question && told[at + 1]?.question === each.question;
    const replaced = new Set(this.turns.map(({ replaces }) => replaces));
    const shown = told.filter((each, at) => !isAskedAgain(each, at) && !(each.turn_id && replaced.has(each.turn_id)));
    const ids = new Set(shown.map((each) => each.turn_id));
    const numbers = new Set(shown.map((each) => each.number));
    const here = this.turns.filter((turn) => turn.id && turn.number === null && !ids.has(turn.id));
    for (const each of shown.toReversed()) {
      const turn =
        this.turns.find(({ id }) => id && id === each.turn_id) ??
        this.turns.find(({ number }) => number === each.number) ??
        // A private turn is told without its id. The newest must be those that were asked here.
        (each.private && !each.turn_id ? here.pop() : undefined) ??
        this.#added();
      this.#update(turn, each);
    }
    if (newest && shown.length) {
      const first = shown[0].number;
      this.turns = this.turns.filter(({ number }) => number === null || number < first || numbers.has(number));
    }
    this.turns.sort((one, other) => (one.number ?? Infinity) - (other.number ?? Infinity) || 0);
  }

  #added() {
    const turn = new Turn({});
    this.turns.push(turn);
    return turn;
  }

  #update(turn, told) {
    turn.number = told.number;
    turn.id ??= told.turn_id;
    turn.isPrivate = told.private;
    turn.assistant = told.assistant;
    turn.question = turn.question || (told.question ?? turn.question); // of a recording alone, its words
    turn.rated = told.rated ?? turn.rated;
    if (told.files?.length) noteFiles(turn, told.files);
    if (told.outcome === null) return; // the stream knows more
    if (told.private && !told.turn_id) {
      if (!turn.following) turn.state = "ended";
      return;
    }
    turn.outcome = told.outcome;
    turn.error = told.error;
    if (!told.error || told.answer !== null) turn.text = told.answer ?? ""; // else what came before it broke off stays
    const wasRunning = turn.following || (turn.isRunning && turn.key);
    turn.state = told.error ? "failed" : "ended";
    if (turn.key) this.#memory.ended(turn.key);
    if (wasRunning) {
      for (const wake of this.#wakers) wake();
      this.#view.notice("");
      this.#view.ended(turn);
    }
  }

  // ── the answer as it is written ──────────────────────────────────────────

  /** The questions in this conversation that are still to be answered, as far as this browser remembers. */
  get #remembered() {
    return this.#memory.running.filter(({ session }) => (session ?? this.#session) === this.#session);
  }

  /** A question that this browser asked, perhaps in another tab or before a reload. */
  #adopt({ key, text, turn: id, files, replaces }) {
    const known = this.turns.find((turn) => turn.key === key || (id && turn.id === id));
    if (known) {
      known.key = key;
      known.id ??= id ?? null;
      if (!known.isRunning) this.#memory.ended(key);
      return;
    }
    if (replaces) this.turns = this.turns.filter((turn) => turn.id !== replaces);
    const given = { withFiles: !!files, replaces: replaces ?? null };
    this.turns.push(new Turn({ key, question: text || null, id: id ?? null, ...given }));
  }

  /** The page was left while files were sent, and they are gone. If all was there the transcript has it. */
  #giveBack({ key, text }) {
    this.#memory.ended(key);
    const isIt = ({ question, files }) => files.length && (question === text || (!text && files.some(({ heard }) => heard)));
    if (this.turns.some(isIt)) return;
    this.#view.refused({ question: text, files: [] }, this.#words.filesGone);
  }

  #note({ key, question, id, files, withFiles, replaces }) {
    const [turn, withAny] = [id ?? undefined, (!replaces && (files.length > 0 || withFiles)) || undefined];
    const noted = { key, text: question ?? "", turn, files: withAny, replaces: replaces ?? undefined };
    this.#memory.note({ ...noted, session: this.#session });
  }

  #askedAnew(failed) {
    this.turns = this.turns.filter((turn) => turn !== failed);
    return new Turn({ question: failed.question, files: failed.files, key: random() });
  }

  #goOn() {
    for (const turn of this.turns) {
      if (turn.isRunning && !turn.following && (turn.id || turn.key)) this.#follow(turn);
    }
    this.#view.changed();
  }

  async #follow(turn) {
    const { signal } = this.#era;
    turn.following = true;
    for (let tries = 0; turn.isRunning && !signal.aborted; tries++) {
      const heard = turn.lastEvent;
      if (tries && turn.stopping && !turn.id) {
        this.#refuse(turn, new Refusal("", 0)); // withdrawn
        break;
      }
      const link = new AbortController();
      this.#links.add(link);
      turn.link = link;
      try {
        await this.#attempt(turn, AbortSignal.any([signal, link.signal]));
        break;
      } catch (problem) {
        if (signal.aborted || !turn.isRunning) break;
        if (turn.lastEvent !== heard) tries = 0;
        if (link.signal.aborted) continue;
        if (problem.status === 404 && turn.id) await this.#missing(turn);
        else if (problem.status === 404 && !turn.movedOn) this.#moveOn(turn);
        else if (!this.#passes(problem, turn)) this.#refuse(turn, problem);
        else {
          await this.#pause(tries, problem, signal);
          if (turn.isRunning && !signal.aborted) this.#view.notice(this.#words.reconnecting);
        }
      } finally {
        this.#links.delete(link);
        turn.sent = null;
      }
    }
    turn.following = false;
    if (!signal.aborted) this.#view.changed();
  }

  async #attempt(turn, signal) {
    const { lastEvent: after } = turn;
    let text = null; // what is kept of an earlier attempt's; it stays in view until there is more
    for await (const { name, id, data } of await this.#opened(turn, after, signal)) {
      if (signal.aborted || !turn.isRunning) return;
      if (name === "turn") {
        if (data.files) noteFiles(turn, data.files);
        this.#know(turn, data.turn_id);
        text = firstCharacters(turn.text, data.from ?? 0);
        this.#view.notice(turn.stopping ? this.#words.stopping : "");
      } else if (name === "delta") {
        turn.text = text = (text ?? "") + data.text;
        this.#view.grew(turn);
      } else if (name === "done") {
        this.#end(turn, data);
        return;
      } else if (name === "error") {
        throw new Refusal(data.detail, 500);
      }
      if (id) turn.lastEvent = id;
    }
    throw new TypeError("the stream ended early");
  }

  async #opened(turn, after, signal) {
    if (turn.id) return this.#api.follow({ turn: turn.id, after, signal });
    if (!this.#session) {
      const { name, isChosen } = this.#assistant;
      const session = this.#memory.session ?? (await this.#api.newSession(isChosen ? name : undefined));
      if (signal.aborted) throw new DOMException("It was left.", "AbortError");
      this.#session = this.#memory.begin(session);
      this.#note(turn);
    }
    const session = this.#session;
    const { question: text, key, replaces } = turn;
    const files = replaces ? [] : turn.files; // which Bob has
    const sent = (share) => {
      turn.sent = share;
      this.#view.grew(turn);
    };
    return this.#api.ask({ session, text, files, replaces, sent, words: this.#words, key, after, signal });
  }

  #know(turn, id) {
    if (turn.id !== id) {
      turn.id = id;
      this.turns = this.turns.filter((other) => other === turn || other.id !== id);
      if (turn.key) this.#note(turn);
    }
    if (turn.stopping) this.#requestStop(turn);
    this.#view.changed();
  }

  #end(turn, { response, assistant }) {
    turn.text = response;
    turn.assistant = assistant ?? turn.assistant;
    // Only the transcript tells whether an assistant is a private one; who is asked here is not.
    if (assistant !== this.#assistant.name) this.#load().catch(() => {});
    else if (turn.question) this.#memory.title(this.#session, turn.question);
    turn.state = "ended";
    if (turn.stopping) turn.outcome = "stopped";
    if (turn.key) this.#memory.ended(turn.key);
    this.#view.notice("");
    this.#view.ended(turn);
  }

  /** Bob has said his last word, and it is no answer. */
  #refuse(turn, problem) {
    if (turn.key) this.#memory.ended(turn.key);
    const sentence = problem.status ? sentenceOf(problem) || this.#words.broken : "";
    this.#view.notice("");
    if (turn.id || problem.status === 500) {
      turn.state = "failed";
      turn.error = sentence;
      this.#view.ended(turn);
    } else {
      this.turns = this.turns.filter((other) => other !== turn);
      turn.state = "failed";
      this.#view.refused(turn, sentence);
      if (turn.replaces) this.#load().catch(() => {}); // what it did not replace is there again
    }
  }

  /** Its events are not there (any more): the transcript says what became of it. */
  async #missing(turn) {
    await this.#load().catch(() => {});
    if (!turn.isRunning) return;
    const canBeAsked = turn.key && turn.question !== null && !turn.lacksFiles;
    if (canBeAsked && this.turns.includes(turn)) turn.id = null; // ask: the same key is the same question
    else {
      if (turn.key) this.#memory.ended(turn.key);
      this.turns = this.turns.filter((other) => other !== turn);
      turn.state = "failed";
    }
  }

  /** The session is gone, so this becomes the first question of a new one. */
  #moveOn(turn) {
    Object.assign(turn, { movedOn: true, replaces: null });
    this.#memory.forget(this.#session);
    this.#session = null;
    this.#note(turn);
    this.turns = [turn];
    this.more = false;
  }

  #requestStop({ id }) {
    if (id) this.#api.stop(id).catch(() => {}); // else its first event asks for it
  }

  // ── trouble ──────────────────────────────────────────────────────────────

  #passes(problem, turn) {
    if (!(problem instanceof Refusal)) return true;
    if (problem.status === 408 && turn?.files.length) return false; // the line is too slow for them
    return !REFUSED.has(problem.status) && problem.status !== 500 && problem.pause <= LONGEST_PAUSE;
  }

  async #pause(tries, problem, signal) {
    const seconds = Math.max(PAUSES[Math.min(tries, PAUSES.length - 1)], problem.pause || 0);
    this.#view.troubled(problem instanceof Refusal, seconds);
    await new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        this.#wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, seconds * 1000);
      signal.addEventListener("abort", wake);
      this.#wakers.add(wake);
    });
  }
}

/** Makes ours what Bob says of a turn's files. */
function noteFiles(turn, told) {
  const known = turn.files.length === told.length ? turn.files : [];
  turn.files = told.map((note, at) => Object.assign(known[at] ?? {}, note));
}

function sentenceOf(problem) {
  return problem instanceof Refusal ? problem.message : "";
}

/** The first of a text's characters as the server counts them: code points. */
export function firstCharacters(text, count) {
  let end = 0;
  for (; count > 0 && end < text.length; count--) end += text.codePointAt(end) > 0xffff ? 2 : 1;
  return text.slice(0, end);
}

// crypto.randomUUID exists on secure origins only; Bob may well be at one without https.
function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
