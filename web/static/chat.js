const PAUSES = [1, 2, 4, 8]; // seconds before each retry
const LOST = "The connection was lost.";
const SILENCE = 45_000; // the server gives a sign of life every 15 s

const ids = ["log", "form", "input", "send", "stop", "fresh", "status", "message"];
const [log, form, input, send, stop, fresh, status, template] = ids.map((id) => document.getElementById(id));

let session, running;
let atEnd = true, last = 0;

// crypto.randomUUID exists on secure origins only; Bob may well be at http://bob.lan.
function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function begin(anew) {
  log.replaceChildren(log.firstElementChild);
  mark();
  input.focus();
  try {
    session = (!anew && localStorage.bobSession) || random();
    localStorage.bobSession = session;
  } catch {
    session = random();
    status.textContent = "This browser stores nothing: reloading ends the conversation.";
  }
}

async function ask(question, message) {
  const run = { question, message };
  const retry = message.querySelector("button");
  mark(run);
  show(message, "Answering…");
  message.ariaBusy = "true";
  try {
    const { response, assistant } = await persist(run);
    // First: a screen reader then hears the answer once, not its pieces.
    message.ariaBusy = null;
    show(message, assistant, response || "(Stopped before an answer.)");
  } catch (problem) {
    message.ariaBusy = null;
    retry.hidden = problem.status < 429;
    retry.onclick = () => ask(question, message);
    show(message, "No complete answer", undefined, problem.status ? problem.message : LOST);
    if (retry.hidden && running === run) input.value ||= question.user_input;
  }
  if (running === run) mark();
}

/** Repeats after a lost connection: the same key is the same answer. */
async function persist(run) {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt(run);
    } catch (problem) {
      // 500 is Bob's last word; 502 to 504 pass.
      if (run.stopping || tries === PAUSES.length || problem.status <= 500) throw problem;
      const seconds = Math.max(PAUSES[tries], problem.pause || 0);
      say(run, `${problem.status ? "Bob is busy." : LOST} Trying again in ${seconds} s…`);
      await new Promise((wake) => setTimeout((run.wake = wake), seconds * 1000));
    }
  }
}

async function attempt(run) {
  const { key, ...body } = run.question;
  const connection = new AbortController();
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
      const { detail = "Bob cannot be reached." } = await reply.json().catch(() => ({}));
      throw refusal(detail, reply.status, Number(reply.headers.get("Retry-After")));
    }
    let text = "";
    for await (const { name, data } of events(reply.body, alive)) {
      if (name === "done") return data;
      if (name === "error") throw refusal(data.detail, 500);
      if (name === "turn") {
        run.turn = data.turn_id;
        if (run.stopping) requestStop(run);
        else say(run, "");
      }
      // An earlier attempt's text stays until now.
      if (name === "delta") show(run.message, "Answering…", (text += data.text));
    }
    throw new Error("the stream ended early");
  } finally {
    clearTimeout(silence);
    connection.abort();
  }
}

function refusal(sentence, status, pause) {
  return Object.assign(new Error(sentence), { status, pause });
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

function show(message, who, text, trouble = "") {
  const [label, place, { firstElementChild: sentence }] = message.children;
  const shown = place.textContent;
  label.textContent = who;
  message.classList.toggle("private", who === "Private-Bob");
  sentence.textContent = trouble;
  // Appending leaves alone what somebody has selected.
  if (message.ariaBusy && text?.startsWith(shown)) place.append(text.slice(shown.length));
  else place.textContent = text ?? shown;
  follow();
}

/** Stays at the end, unless somebody has scrolled up to read. */
function follow() {
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
  if (focused.matches("[hidden], article button")) input.focus();
}

form.onsubmit = (event) => {
  event.preventDefault();
  const user_input = input.value.trim();
  if (running || !user_input) return;
  input.value = "";
  atEnd = true;
  show(add("you"), "You", user_input);
  ask({ session_id: session, user_input, key: random() }, add("bob"));
};

input.onkeydown = (event) => {
  // Not event.key: an Enter that chooses a word in an input method is 229 here.
  if (event.keyCode !== 13 || event.shiftKey) return;
  event.preventDefault();
  form.requestSubmit();
};

log.onscroll = () => {
  atEnd = (atEnd && log.scrollTop >= last) || log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  last = log.scrollTop;
};
new ResizeObserver(follow).observe(log); // the input grows

stop.onclick = halt;
fresh.onclick = () => {
  if (running) halt(); // nobody could read it any more
  begin(true);
};

document.querySelector("img").src = document.querySelector("[rel=icon]").href;
begin();
