const PAUSES = [1, 2, 4, 8]; // seconds before each repetition
const SILENCE = 45_000; // the server gives a sign of life every 15 s

const ids = ["log", "form", "input", "send", "stop", "fresh", "status", "message"];
const [log, form, input, send, stop, fresh, status, template] = ids.map((id) => document.getElementById(id));

let session;
let running = null;

/** The server says no, in its own words. */
class Refused extends Error {
  constructor(sentence, status, pause = 0) {
    super(sentence);
    Object.assign(this, { status, pause });
  }
}

// crypto.randomUUID exists on secure origins only; Bob may well be at http://bob.lan.
function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function begin(anew) {
  log.replaceChildren(log.firstElementChild);
  mark(null);
  input.focus();
  try {
    session = (!anew && localStorage.bobSession) || random();
    localStorage.bobSession = session;
  } catch {
    session = random();
    status.textContent = "This browser stores nothing: the conversation ends with this page.";
  }
}

async function ask(question, message) {
  const run = { stopping: false };
  const [trouble, retry] = message.querySelectorAll(".trouble > *");
  mark(run);
  trouble.textContent = "";
  show(message, "Answering…");
  message.ariaBusy = "true";
  try {
    const { response, assistant } = await persist(question, message, run);
    // First, so that a screen reader hears the answer once and not its pieces.
    message.ariaBusy = null;
    show(message, assistant, response || "(Stopped before there was an answer.)");
  } catch (problem) {
    message.ariaBusy = null;
    const lost = run.stopping ? "You stopped waiting for the answer." : "The connection was lost.";
    trouble.textContent = problem.status ? problem.message : lost;
    retry.hidden = problem.status < 429; // would be refused again
    retry.onclick = () => ask(question, message);
    show(message, "No complete answer");
    if (retry.hidden && running === run) input.value ||= question.user_input;
  }
  if (running === run) mark(null);
}

/** Repeats after a lost connection. The key makes it the same question, with one answer. */
async function persist(question, message, run) {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt(question, message, run);
    } catch (problem) {
      // 500 is Bob's last word; 502 to 504 pass.
      if (run.stopping || tries === PAUSES.length || problem.status <= 500) throw problem;
      const seconds = Math.max(PAUSES[tries], problem.pause ?? 0);
      say(run, `${problem.status ? "Bob is busy" : "The connection was lost"}. Trying again in ${seconds} s…`);
      await new Promise((wake) => setTimeout((run.wake = wake), seconds * 1000));
    }
  }
}

async function attempt({ key, ...body }, message, run) {
  const connection = (run.connection = new AbortController());
  let silence;
  const alive = () => {
    clearTimeout(silence);
    silence = setTimeout(() => connection.abort(), SILENCE);
  };
  alive();
  try {
    const reply = await fetch("ask", {
      method: "POST",
      headers: { Accept: "text/event-stream", "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify(body),
      signal: connection.signal,
    });
    if (!reply.ok) {
      const { detail } = await reply.json().catch(() => ({}));
      const sentence = detail ?? `Bob cannot be reached (${reply.status}).`;
      throw new Refused(sentence, reply.status, Number(reply.headers.get("Retry-After")) || 0);
    }
    let text = "";
    for await (const { name, data } of events(reply.body, alive)) {
      if (name === "done") return data;
      if (name === "error") throw new Refused(data.detail, 500);
      if (name === "turn") {
        run.turn = data.turn_id;
        if (run.stopping) requestStop(run);
        else say(run, "");
      }
      // What an earlier attempt showed stays until this one has something to show.
      if (name === "delta") show(message, "Answering…", (text += data.text));
    }
    throw new Error("the stream ended early");
  } finally {
    clearTimeout(silence);
    connection.abort();
  }
}

/** Server-sent events; EventSource cannot POST. */
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
      if (line) continue;
      if (data.length) yield { name, data: JSON.parse(data.join("\n")) };
      name = "";
      data = [];
    }
  }
}

function halt() {
  if (running.stopping) return running.connection.abort(); // asked twice: the server does not listen
  running.stopping = true;
  say(running, "Stopping…");
  requestStop(running);
  running.wake?.();
}

function requestStop({ turn }) {
  // Without a turn yet, its event asks for this.
  if (turn) fetch(`turns/${turn}/stop`, { method: "POST" }).catch(() => {});
}

function add(kind) {
  log.append(template.content.cloneNode(true));
  log.lastElementChild.className = kind;
  return log.lastElementChild;
}

function show(message, who, text) {
  const [label, place] = message.children;
  const shown = place.textContent;
  // Stays at the end, unless somebody has scrolled up to read.
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  label.textContent = who;
  message.classList.toggle("private", who === "Private-Bob");
  // Appending leaves alone what somebody has selected.
  if (message.ariaBusy && text?.startsWith(shown)) place.append(text.slice(shown.length));
  else place.textContent = text ?? shown;
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function say(run, sentence) {
  if (running === run) status.textContent = sentence;
}

function mark(run) {
  const focused = document.activeElement;
  running = run;
  status.textContent = "";
  send.hidden = !!run;
  stop.hidden = !run;
  for (const retry of log.querySelectorAll(".trouble button")) retry.disabled = !!run;
  if (focused.matches("[hidden], :disabled")) input.focus();
}

form.onsubmit = (event) => {
  event.preventDefault();
  const user_input = input.value.trim();
  if (running || !user_input) return;
  input.value = "";
  show(add("you"), "You", user_input);
  const message = add("bob");
  log.scrollTop = log.scrollHeight;
  ask({ session_id: session, user_input, key: random() }, message);
};

input.onkeydown = (event) => {
  // Enter also chooses a word in an input method; Safari tells by 229 only.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  form.requestSubmit();
};

stop.onclick = halt;
fresh.onclick = () => {
  if (running) halt(); // nobody could read that answer any more
  begin(true);
};

begin(false);
