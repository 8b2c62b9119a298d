// Bob's HTTP API.

const SILENCE = 45_000; // Bob gives a sign of life every 15 s
const PATIENCE = 20_000;
const PATIENCE_WITH_FILES = 240_000; // which are read before the first word

const NO_LONGER = new Set(["identity-expired", "identity-refused"]); // since it ended, or since its key did
const MOST_SESSIONS = 100;

/** Bob said no: a status, a sentence, and perhaps the seconds after which to ask again, and what kind of problem it is. */
export class Refusal extends Error {
  constructor(sentence, status, pause = 0, kind = undefined) {
    super(sentence);
    this.status = status;
    this.pause = pause;
    this.kind = kind;
  }
}

/** As IANA names it; undefined where the browser does not tell, and then it is left out. */
const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

export class Api {
  #base;
  #key;
  #language;

  /** Bob's sentences come in this language, which need not be the browser's. Without an `identity` a guest asks. */
  constructor(base, key, language, identity = null) {
    this.#base = base;
    this.#key = key;
    this.#language = language;
    this.identity = identity; // one that says the same of somebody may take its place
  }

  /** The same for somebody else. */
  as(identity) {
    return new Api(this.#base, this.#key, this.#language, identity);
  }

  /** Who asks, `person`, and the newest of their `sessions`; and whether there are `more`. */
  async sessions() {
    return (await this.#call(`sessions?limit=${MOST_SESSIONS}`)).json();
  }

  /** Makes a guest's session the person's who asks. */
  async claim(session) {
    await this.#call(`sessions/${encodeURIComponent(session)}/claim`, { method: "POST" });
  }

  /** A session, in which that assistant is to answer where one is named. */
  async newSession(assistant) {
    const told = { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ assistant }) };
    const reply = await this.#call("sessions", { method: "POST", ...(assistant ? told : {}) });
    return (await reply.json()).session_id;
  }

  async turns(session, before) {
    const page = before ? `?limit=20&before=${before}` : "?limit=20";
    return (await this.#call(`sessions/${encodeURIComponent(session)}/turns${page}`)).json();
  }

  async erase(session) {
    await this.#call(`sessions/${encodeURIComponent(session)}`, { method: "DELETE" });
  }

  async stop(turn) {
    await this.#call(`turns/${encodeURIComponent(turn)}/stop`, { method: "POST" });
  }

  /** What somebody thinks of an answer: whether it is `good`, and in `words` why, or none. */
  async rate(turn, thumb) {
    const body = { headers: { "Content-Type": "application/json" }, body: JSON.stringify(thumb) };
    await this.#call(`turns/${encodeURIComponent(turn)}/feedback`, { method: "PUT", ...body });
  }

  /** How many files may come with a question, how large, and of what types. */
  async limits() {
    const reply = await fetch(new URL("limits", this.#base), { signal: AbortSignal.timeout(PATIENCE) });
    return reply.ok ? reply.json() : null;
  }

  /** What is kept of a file of a question, as a Blob. */
  async file(session, id) {
    const request = { signal: AbortSignal.timeout(PATIENCE_WITH_FILES) };
    return (await this.#fetch(`sessions/${encodeURIComponent(session)}/files/${id}`, request)).blob();
  }

  /** The events of a question: asked now, or before with the same key. `sent` is told how much is, where there are files. */
  ask({ session, text, files, replaces, sent, words, key, after, signal }) {
    const headers = { "Idempotency-Key": key, ...since(after) };
    const fields = { session_id: session, user_input: text, time_zone: timeZone(), ...(replaces && { replaces }) };
    if (files.length) return this.#events("ask", { headers, fields, files, sent, words, signal });
    headers["Content-Type"] = "application/json";
    return this.#events("ask", { method: "POST", headers, body: JSON.stringify(fields), signal });
  }

  /** The events of a turn that somebody asked. */
  follow({ turn, after, signal }) {
    return this.#events(`turns/${encodeURIComponent(turn)}/events`, { headers: since(after), signal });
  }

  async *#events(path, { signal, headers, sent, ...request }) {
    const connection = new AbortController();
    const leave = () => connection.abort();
    signal.addEventListener("abort", leave);
    let silence;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(leave, request.files ? PATIENCE_WITH_FILES : SILENCE);
    };
    alive();
    try {
      const told = { ...request, headers: { ...headers, Accept: "text/event-stream" }, signal: connection.signal };
      const noted = (share) => (alive(), sent(share));
      const reply = await (request.files ? this.#upload(path, { ...told, noted }) : this.#fetch(path, told));
      yield* parsed(reply.body, alive);
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", leave);
      leave();
    }
  }

  #call(path, request = {}) {
    return this.#fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE) });
  }

  #fetch(path, request) {
    return this.#sent(request.headers, async (headers) => {
      const reply = await fetch(new URL(path, this.#base), { cache: "no-store", ...request, headers });
      if (reply.ok) return reply;
      throw refusal(await reply.text().catch(() => ""), reply.status, reply.headers.get("Retry-After"));
    });
  }

  async #upload(path, request) {
    const { upload } = await import("./files.js");
    return this.#sent(request.headers, (headers) => upload(new URL(path, this.#base), { ...request, headers }));
  }

  /** Sends something with our headers; once more where the website's word on who asks is not taken any more. */
  async #sent(more, send) {
    const { identity } = this;
    const token = await identity?.token();
    try {
      return await send(this.#headers(more, token));
    } catch (problem) {
      const renewed = token && NO_LONGER.has(problem.kind) ? await identity.renewed(token) : null;
      if (!renewed) throw problem;
      return send(this.#headers(more, renewed));
    }
  }

  #headers(more, token) {
    const authority = this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
    const identity = token ? { "X-Bob-Identity": token } : {};
    return { ...authority, ...identity, "Accept-Language": this.#language, ...more };
  }
}

/** What is thrown of a response that is no success. */
export function refusal(text, status, pause) {
  let detail;
  let type;
  try {
    ({ detail, type } = JSON.parse(text));
  } catch {
    // Somebody between Bob and us has said it.
  }
  return new Refusal(typeof detail === "string" ? detail : "", status, Number(pause) || 0, type);
}

function since(id) {
  return id ? { "Last-Event-ID": id } : {};
}

/** Server-sent events; EventSource can neither POST nor send a key. */
export async function* parsed(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let begun = []; // the pieces of a line without its end
  let event = { data: [] };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    // A "\r" at the very end may be half of a "\r\n".
    const held = begun.at(-1) === "\r" ? begun.pop() : "";
    const lines = (held + value).split(/\r\n|\n|\r(?!$)/);
    const last = lines.pop();
    if (lines.length) {
      lines[0] = begun.join("") + lines[0];
      begun = [];
    }
    if (last.endsWith("\r")) begun.push(last.slice(0, -1), "\r");
    else begun.push(last);
    for (const line of lines) {
      const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "event") event.name = content;
      if (field === "id") event.id = content;
      if (field === "data") event.data.push(content);
      if (line) continue;
      if (event.data.length) yield { name: event.name, id: event.id, data: JSON.parse(event.data.join("\n")) };
      event = { data: [] };
    }
  }
}
