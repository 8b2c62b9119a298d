const SESSION = "bob.session";
const PAUSES = [1, 2, 4, 8]; // seconds before each repetition
const LONGEST_PAUSE = 30;
const SILENCE = 45_000; // the server gives a sign of life every 15 s
const PASSING = [429, 502, 503, 504];
const LOST = "The connection was lost before the answer was complete.";

const [log, form, input, send, stop, fresh, status] =
  ["log", "form", "input", "send", "stop", "fresh", "status"].map((id) => document.getElementById(id));

let session;
let running = null;

/** The server says no, in its own words. */
class Refused extends Error {
  constructor(sentence, code, pause = 0) {
    super(sentence);
    this.askAgain = code >= 500 || PASSING.includes(code);
    this.passing = PASSING.includes(code) && pause <= LONGEST_PAUSE;
    this.pause = pause;
  }
}

// crypto.randomUUID exists on secure origins only; Bob may well be at http://bob.lan.
function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function begin(id) {
  session = id ?? random();
  const welcome = copy("welcome");
  try {
    localStorage.setItem(SESSION, session);
  } catch {
    welcome.querySelector(".forgetful").hidden = false;
  }
  log.replaceChildren(welcome);
  busy(null);
  input.focus();
}

function kept() {
  try {
    return localStorage.getItem(SESSION);
  } catch {
    return null;
  }
}

/* Asking */

async function ask(question, message) {
  const run = { turn: null, stopping: false, wake() {}, abort() {} };
  busy(run);
  message.setAttribute("aria-busy", "true");
  label(message, "Answering…");
  message.querySelector(".trouble")?.remove();
  try {
    const { response, assistant } = await persist(question, message, run);
    // Before the text, so that a screen reader hears the whole answer once and not its pieces.
    message.removeAttribute("aria-busy");
    label(message, assistant);
    write(message, response || "(Stopped before there was an answer.)");
  } catch (problem) {
    message.removeAttribute("aria-busy");
    label(message, "No complete answer");
    const lost = run.stopping ? "You stopped waiting for the answer." : LOST;
    fail(question, message, problem instanceof Refused ? problem : new Refused(lost, 500));
  }
  if (running === run) busy(null);
}

/** Repeats the question after a lost connection. The key makes that safe: it is the same question, and one answer. */
async function persist(question, message, run) {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt(question, message, run);
    } catch (problem) {
      const refused = problem instanceof Refused;
      if (run.stopping || tries === PAUSES.length || (refused && !problem.passing)) throw problem;
      const seconds = Math.max(PAUSES[tries], refused ? problem.pause : 0);
      say(run, `${refused ? "Bob is busy" : "The connection was lost"}. Trying again in ${seconds} s…`);
      await new Promise((wake) => {
        run.wake = wake;
        setTimeout(wake, seconds * 1000);
      });
      say(run, run.stopping ? "Stopping…" : "Trying again…");
    }
  }
}

async function attempt(question, message, run) {
  const abort = new AbortController();
  run.abort = () => abort.abort();
  let silence;
  const alive = () => {
    clearTimeout(silence);
    silence = setTimeout(run.abort, SILENCE);
  };
  alive();
  try {
    const reply = await fetch("ask", {
      method: "POST",
      headers: {
        "Accept": "text/event-stream",
        "Content-Type": "application/json",
        "Idempotency-Key": question.key,
      },
      body: JSON.stringify({ session_id: question.session, user_input: question.text }),
      signal: abort.signal,
    });
    if (!reply.ok) throw await refusal(reply);
    let begun = false;
    for await (const { name, data } of events(reply.body, alive)) {
      if (name === "turn") {
        run.turn = data.turn_id;
        if (run.stopping) requestStop(run);
        else say(run, "");
      } else if (name === "delta") {
        // What an earlier attempt showed stays until this one has something to show.
        write(message, data.text, begun);
        begun = true;
      } else if (name === "done") {
        return data;
      } else if (name === "error") {
        const refused = new Refused(data.detail, 500);
        throw refused;
      }
    }
    throw new Error("the stream ended early");
  } finally {
    clearTimeout(silence);
    abort.abort();
  }
}

async function refusal(reply) {
  const { detail } = await reply.json().catch(() => ({}));
  const sentence = typeof detail === "string" ? detail : `Bob cannot be reached right now (${reply.status}).`;
  return new Refused(sentence, reply.status, Number(reply.headers.get("Retry-After")) || 0);
}

/** Server-sent events. EventSource cannot POST. */
async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let name = "";
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    // A "\r" at the very end may be half of a "\r\n".
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "event") name = content;
      if (field === "data") data.push(content);
      if (line === "") {
        if (data.length) yield { name, data: JSON.parse(data.join("\n")) };
        name = "";
        data = [];
      }
    }
  }
}

function halt() {
  const run = running;
  if (run.stopping) return run.abort(); // asked twice: the server does not listen
  run.stopping = true;
  say(run, "Stopping…");
  requestStop(run);
  run.wake();
}

function requestStop({ turn }) {
  // Without a turn yet, its event asks for this. A failure shows as an answer that goes on; Stop then gives up.
  if (turn) fetch(`turns/${turn}/stop`, { method: "POST" }).catch(() => {});
}

/* Showing */

function copy(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

function add(kind, who, text) {
  const message = copy("message");
  message.classList.add(kind);
  label(message, who);
  write(message, text);
  log.append(message);
  return message;
}

function label(message, who) {
  message.querySelector(".who").textContent = who;
  message.classList.toggle("private", who === "Private-Bob");
}

function write(message, text, more = false) {
  following(() => {
    const place = message.querySelector(".text");
    // Appending leaves alone what somebody has selected.
    if (more) place.append(text);
    else place.textContent = text;
  });
}

function fail(question, message, refused) {
  const trouble = copy("trouble");
  const retry = trouble.querySelector("button");
  trouble.querySelector("p").textContent = refused.message;
  retry.onclick = () => {
    input.focus();
    ask(question, message);
  };
  if (!refused.askAgain) {
    retry.remove();
    if (message.isConnected && !input.value) input.value = question.text;
  }
  following(() => message.append(trouble));
}

/** Stays at the end, unless somebody has scrolled up to read. */
function following(change) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  change();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function say(run, sentence) {
  if (running === run) status.textContent = sentence;
}

function busy(run) {
  if (document.activeElement === stop) input.focus();
  running = run;
  status.textContent = "";
  send.hidden = run !== null;
  stop.hidden = run === null;
  for (const retry of log.querySelectorAll(".retry")) retry.disabled = run !== null;
}

form.onsubmit = (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (running || !text) return;
  input.value = "";
  input.focus();
  add("you", "You", text);
  const message = add("bob", "", "");
  log.scrollTop = log.scrollHeight;
  ask({ session, text, key: random() }, message);
};

input.onkeydown = (event) => {
  // While composing (Japanese, Chinese …) Enter chooses a word. Safari tells by 229 only.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  form.requestSubmit();
};

stop.onclick = halt;
fresh.onclick = () => {
  if (running) halt(); // nobody could read that answer any more
  begin();
};

begin(kept());
