// Bob's HTTP API.

const SILENCE = 45_000; // Bob gives a sign of life every 15 s
const PATIENCE = 20_000;

/** Bob said no: a status, a sentence, and perhaps the seconds after which to ask again. */
export class Refusal extends Error {
  constructor(sentence, status, pause = 0) {
    super(sentence);
    this.status = status;
    this.pause = pause;
  }
}

/** As IANA names it; undefined where the browser does not tell, and then it is left out. */
const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

export class Api {
  #base;
  #key;
  #language;

  /** Bob's sentences come in this language, which need not be the browser's. */
  constructor(base, key, language) {
    this.#base = base;
    this.#key = key;
    this.#language = language;
  }

  async newSession() {
    const reply = await this.#call("sessions", { method: "POST" });
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

  /** The events of a question: asked now, or before with the same key. */
  ask({ session, text, key, after, signal }) {
    return this.#events("ask", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key, ...since(after) },
      body: JSON.stringify({ session_id: session, user_input: text, time_zone: timeZone() }),
      signal,
    });
  }

  /** The events of a turn that somebody asked. */
  follow({ turn, after, signal }) {
    return this.#events(`turns/${encodeURIComponent(turn)}/events`, { headers: since(after), signal });
  }

  async *#events(path, { signal, headers, ...request }) {
    const connection = new AbortController();
    const leave = () => connection.abort();
    signal.addEventListener("abort", leave);
    let silence;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(leave, SILENCE);
    };
    alive();
    try {
      const reply = await this.#fetch(path, {
        ...request,
        headers: { ...headers, Accept: "text/event-stream" },
        signal: connection.signal,
      });
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

  async #fetch(path, request) {
    const authority = this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
    const headers = { ...authority, "Accept-Language": this.#language, ...request.headers };
    const reply = await fetch(new URL(path, this.#base), { cache: "no-store", ...request, headers });
    if (reply.ok) return reply;
    const { detail } = await reply.json().catch(() => ({}));
    const sentence = typeof detail === "string" ? detail : "";
    throw new Refusal(sentence, reply.status, Number(reply.headers.get("Retry-After")) || 0);
  }
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
