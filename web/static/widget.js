// <script src="https://bob.example/widget.js" defer></script>
//
// Shows a button, and fetches the chat when somebody opens it. Options are data-… of the script element: title, color,
// greeting, assistant, questions, contact, position (left or right), language, texts, open, key, target, identity. Scripts
// of the page find it as window.Bob (widget.d.ts), and may leave what it is to do there before it is loaded.
(() => {
  // A module has no currentScript.
  const isOurs = ({ src, type }) => type === "module" && /\/widget\.js([?#]|$)/.test(src);
  const script = document.currentScript ?? [...document.scripts].find(isOurs);
  const mark = Symbol.for("bob.widget");
  if (!script || window[mark]) return;
  window[mark] = true;

  const base = new URL(".", script.src);
  const options = checked({ ...script.dataset });
  const SMALL = matchMedia("(max-width: 480px), (max-height: 480px)");
  const MOST_RETURNS = 20; // within a second of each other, to a page that takes it away

  function checked(given) {
    const { title, color, greeting, assistant, questions, contact, position, language, texts } = given;
    const { open, key, target, identity } = given;
    const ignored = [];
    const text = (name, value, most) => {
      if (value === undefined) return undefined;
      if (value.trim() && value.length <= most) return value.trim();
      ignored.push(`data-${name}`);
      return undefined;
    };
    const matching = (name, value, pattern) => {
      if (value === undefined || pattern.test(value)) return value;
      ignored.push(`data-${name}`);
      return undefined;
    };
    const parsed = (name, value, parse) => {
      try {
        return value === undefined ? undefined : parse(value);
      } catch {
        ignored.push(`data-${name}`);
        return undefined;
      }
    };
    const shade = color === undefined ? undefined : shadeOf(color);
    if (shade === null) ignored.push("data-color");
    const options = {
      title: text("title", title, 80),
      greeting: text("greeting", greeting, 1000),
      assistant: text("assistant", assistant, 40),
      position: matching("position", position, /^(left|right)$/) || "right",
      language: matching("language", language, /^[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{2,8})*$/),
      open: matching("open", open, /^(true|false|)$/),
      key: matching("key", key, /^[\x21-\x7e]{1,200}$/),
      identity: matching("identity", identity, /^[\w-]{1,8000}\.[\w-]{1,8000}\.[\w-]{1,8000}$/),
      contact: matching("contact", contact, /^(https?:\/\/|mailto:|tel:)?[^\s<>]{1,300}$/i),
      questions: text("questions", questions, 1000)?.split("|").map((each) => each.trim()).filter(Boolean).slice(0, 6),
      texts: parsed("texts", texts, textsOf),
      target: parsed("target", target, (selector) => (document.querySelector(selector), selector)),
      ...(shade || {}),
    };
    if (ignored.length) console.warn(`Bob's widget ignores what it does not understand: ${ignored.join(", ")}`);
    return options;
  }

  /** Texts by name. Throws where it is something else. */
  function textsOf(json) {
    const texts = JSON.parse(json);
    if (!Object.values(texts).every((text) => typeof text === "string")) throw new TypeError();
    return texts;
  }

  /** An opaque colour, and black or white, whichever is easier to read on it. Null if it is none. */
  function shadeOf(color) {
    const brush = document.createElement("canvas").getContext("2d");
    const read = [0, 1].map((other) => {
      brush.fillStyle = other ? "#fff" : "#000";
      brush.fillStyle = color;
      return brush.fillStyle;
    });
    if (read[0] !== read[1] || !/^#[\da-f]{6}$/.test(read[0])) return null;
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const part = parseInt(read[0].slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    return { color: read[0], onColor: 1.05 / (light + 0.05) >= 4.5 ? "#ffffff" : "#000000" };
  }

  // Rules in a shadow tree that are !important win over whatever the page says.
  const STYLE = `
    :host {
      all: initial !important;
      direction: ltr !important;
      position: fixed !important;
      z-index: 2147483000 !important;
      inset: auto 0 0 auto !important;
      color-scheme: light dark !important;
      font: 15px/1.55 system-ui, sans-serif !important;
    }
    [hidden] { display: none !important; }
    .launch {
      position: fixed; bottom: 20px; right: 20px; width: 58px; height: 58px; padding: 0; border: 0; border-radius: 50%;
      background: var(--accent); color: var(--on-accent); cursor: pointer;
      box-shadow: 0 2px 6px #0003, 0 8px 24px #0003; transition: transform .15s;
    }
    .launch:hover { transform: scale(1.05); }
    .launch:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; box-shadow: 0 0 0 3px #fff; }
    .launch.waiting { opacity: .75; cursor: progress; }
    .launch.failed::after {
      content: "!"; position: absolute; top: -2px; right: -2px; width: 20px; border-radius: 50%;
      background: #b3261e; color: #fff; font: 700 14px/20px system-ui, sans-serif;
    }
    .badge {
      position: absolute; top: -3px; right: -3px; min-width: 12px; padding: 0 5px; border-radius: 11px;
      background: #b3261e; color: #fff; font: 700 13px/22px system-ui, sans-serif; text-align: center;
    }
    .launch svg {
      display: block; width: 34px; margin: auto;
      fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round;
    }
    .panel {
      position: fixed; bottom: calc(92px + var(--covered)); right: 20px; width: 400px;
      height: min(640px, 100vh - 112px); height: min(640px, 100dvh - 112px - var(--covered));
      display: flex; overflow: hidden; border-radius: 18px; box-shadow: 0 0 0 1px #0001, 0 12px 48px #0004;
    }
    .left .launch, .left .panel { right: auto; left: 20px; }
    @media (max-width: 480px), (max-height: 480px) {
      .panel, .left .panel { inset: var(--above) 0 var(--covered); width: auto; height: auto; border-radius: 0; }
      .panel:not([hidden]) ~ .launch { display: none; }
    }
    :host([inline]) {
      position: relative !important; display: block !important; z-index: auto !important; inset: auto !important;
      height: 100% !important; min-height: 420px !important;
    }
    .inline .panel { position: absolute; inset: 0; width: auto; height: auto; border-radius: 12px; box-shadow: 0 0 0 1px #0002; }
    @media (prefers-reduced-motion: reduce) { .launch { transition: none; } }
    @media print { .frame { display: none; } }
  `;

  function part(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
    element.append(...children);
    return element;
  }

  function face() {
    const [svg, path] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
    svg.setAttribute("viewBox", "0 0 28 28");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", "M10.5 10v3.2M17.5 10v3.2M9.5 17.1q4.5 3.8 9 0");
    svg.append(path);
    return svg;
  }

  /** What is kept for the other pages of this website in this tab. */
  function kept(name) {
    return {
      get: () => {
        try {
          return sessionStorage.getItem(`bob-chat-${name}`);
        } catch {
          return null; // it was never told, then
        }
      },
      set: (value) => {
        try {
          sessionStorage.setItem(`bob-chat-${name}`, value);
        } catch {
          // It begins anew on each page, then.
        }
      },
    };
  }

  const wasOpen = kept("open");
  const isWaiting = kept("waiting"); // for an answer
  const isInline = options.target !== undefined;
  let isEntered = false; // in the history, so that Back closes it
  let isLeaving = false; // the history, since it is closed

  // ── what scripts of the page may do ──────────────────────────────────────

  let identity = options.identity; // of who asks: a token, or what gives one
  const listeners = [];
  let widget = null;
  let whenReady;
  const ready = new Promise((resolve) => (whenReady = resolve));

  function emit(event, detail = {}) {
    for (const [wanted, listener] of [...listeners]) {
      if (wanted !== event) continue;
      try {
        listener(detail);
      } catch (problem) {
        console.error(problem);
      }
    }
  }

  const api = {
    open: async () => (await ready, widget.open(true)),
    close: async () => (await ready, widget.close()),
    toggle: async () => (await ready, widget.isOpen ? widget.close() : widget.open(true)),
    ask: async (question) => {
      await api.open();
      return widget.ask(String(question));
    },
    on: (event, listener) => {
      const entry = [event, listener];
      listeners.push(entry);
      if (event === "ready" && widget) queueMicrotask(() => listener({}));
      return () => listeners.splice(listeners.indexOf(entry) >>> 0, 1);
    },
    identify: async (given) => {
      if (!["string", "function"].includes(typeof given)) throw new TypeError("identify() takes a token or a function.");
      identity = given;
      await ready;
      await widget.identify();
    },
    end: async () => {
      identity = undefined;
      await ready;
      widget.end();
      for (const name of ["localStorage", "sessionStorage"]) {
        try {
          const ours = (key) => key.startsWith(`bob ${base.href}`) || key.startsWith("bob-chat-");
          for (const key of Object.keys(window[name]).filter(ours)) window[name].removeItem(key);
        } catch {
          // Nothing is stored there.
        }
      }
    },
    /** Calls, such as ["open"] or ["on", "answer", listener]. */
    push: (...calls) => {
      for (const [name, ...given] of calls) if (name !== "push" && Object.hasOwn(api, name)) api[name](...given);
    },
  };
  const queued = window.Bob;
  window.Bob = Object.freeze(api);
  if (Array.isArray(queued)) api.push(...queued);

  // ── what is shown ────────────────────────────────────────────────────────

  function build() {
    const name = options.title || options.assistant || "Bob";
    const host = document.createElement("bob-chat");
    host.toggleAttribute("inline", isInline);
    const root = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const panel = part("div", { class: "panel", id: "panel", role: isInline ? "region" : "dialog", "aria-label": name });
    panel.hidden = true;
    const badge = part("span", { class: "badge", "aria-hidden": "true" });
    badge.hidden = true;
    const told = { "aria-label": name, "aria-expanded": "false", "aria-haspopup": "dialog" };
    const launch = part("button", { class: "launch", type: "button", ...told }, face(), badge);
    const frame = part("div", { class: `frame ${isInline ? "inline" : options.position}` }, panel, launch);
    launch.hidden = isInline;
    frame.style.setProperty("--accent", options.color || "#17705f");
    frame.style.setProperty("--on-accent", options.onColor || "#ffffff");
    for (const side of ["--above", "--covered"]) panel.style.setProperty(side, "0px");
    root.append(frame);

    const ending = new AbortController();
    let chat = null;
    let loading = null;
    let calledFor = 0;

    /** Who is to answer: `{assistant, isChosen}`. */
    async function choose() {
      const wanted = options.assistant;
      try {
        const reply = await fetch(new URL("assistants", base), { credentials: "omit" });
        const { assistants } = await reply.json();
        if (!wanted || assistants.includes(wanted)) return { assistant: wanted ?? assistants[0], isChosen: !!wanted };
        console.warn(`Bob's widget: there is no assistant ${wanted} to be asked, so ${assistants[0]} answers.`);
        return { assistant: assistants[0], isChosen: false };
      } catch {
        return { assistant: wanted, isChosen: !!wanted }; // the first question says what is wrong
      }
    }

    async function load() {
      const styled = async (name) => {
        const reply = await fetch(new URL(`static/${name}`, base), { credentials: "omit" });
        if (!reply.ok) throw new Error(`${name}: ${reply.status}`);
        return new CSSStyleSheet().replace(await reply.text());
      };
      const [module, chosen, ...looks] = await Promise.all([
        import(new URL("static/chat.js", base)),
        choose(),
        styled("chat.css"),
        styled("answer.css"),
      ]);
      root.adoptedStyleSheets = [...looks, sheet];
      const called = options.title || chosen.assistant || "Bob";
      for (const each of [panel, launch]) each.setAttribute("aria-label", called);
      const unread = (count, label) => {
        badge.textContent = count;
        badge.hidden = !count;
        launch.setAttribute("aria-label", count ? `${called}. ${label}` : called);
      };
      const known = identity;
      chat = await module.mount(panel, {
        ...options,
        identity: known,
        ...chosen,
        ...(isInline ? {} : { close }),
        isEmbedded: true,
        on: (event, detail) => {
          isWaiting.set(event === "question" ? "yes" : "no");
          emit(event, detail);
        },
        unread,
        isHidden: () => panel.hidden,
      });
      if (identity && identity !== known) chat.identify(identity);
      if (!identity && known) chat.end();
      if (ending.signal.aborted) chat.remove();
    }

    /** The chat, unless it could not be loaded. */
    async function loaded() {
      if (chat) return true;
      launch.classList.remove("failed");
      launch.classList.add("waiting");
      loading ??= load();
      try {
        await loading;
      } catch (problem) {
        launch.classList.add("failed");
        console.warn("Bob's chat could not be loaded.", problem);
        emit("error", { question: null, message: "The chat could not be loaded." });
      }
      loading = null;
      launch.classList.remove("waiting");
      return !!chat;
    }

    async function open(byHand) {
      const call = ++calledFor;
      if (!(await loaded()) || call !== calledFor) return;
      const wasHidden = panel.hidden;
      panel.hidden = false;
      launch.setAttribute("aria-expanded", "true");
      chat.seen();
      if (byHand || history.state?.bobChat) enter();
      if (byHand) {
        wasOpen.set("yes");
        chat.focus();
      }
      if (wasHidden) emit("open");
    }

    function close() {
      calledFor++;
      wasOpen.set("no");
      if (panel.hidden) return;
      panel.hidden = true;
      launch.setAttribute("aria-expanded", "false");
      launch.focus();
      isLeaving = isEntered && !!history.state?.bobChat;
      isEntered = false;
      if (isLeaving) history.back();
      emit("close");
    }

    /** On a phone it is a page of its own, which Back closes. */
    function enter() {
      if (isEntered || isInline || !SMALL.matches) return;
      try {
        if (!history.state?.bobChat) history.pushState({ ...history.state, bobChat: true }, "");
        isEntered = true;
      } catch {
        // The page has no history.
      }
    }

    const left = (event) => {
      if (!isEntered && !isLeaving) return;
      event.stopImmediatePropagation(); // for the page nothing has changed
      if (!isLeaving) close();
      isLeaving = false;
    };
    addEventListener("popstate", left, { capture: true, signal: ending.signal });
    launch.addEventListener("click", () => (panel.hidden ? open(true) : close()));
    for (const kind of ["keydown", "keypress", "keyup"]) {
      frame.addEventListener(kind, (event) => {
        const closes = kind === "keydown" && event.key === "Escape" && !event.isComposing && !isInline;
        if (closes && !panel.hidden) close();
        event.stopPropagation(); // what is typed here is no shortcut of the page's
      });
    }
    let hears = false;
    frame.addEventListener("bob-alive", () => (hears = true));
    return {
      host,
      open,
      close,
      load: loaded,
      get isOpen() {
        return !panel.hidden;
      },
      ask: (question) => !!chat?.ask(question),
      identify: () => chat?.identify(identity),
      end: () => chat?.end(),
      /** Whether it still hears: document.open() leaves nobody who listens. */
      isAlive: () => {
        hears = false;
        frame.dispatchEvent(new Event("bob-alive"));
        return hears;
      },
      remove: () => {
        ending.abort();
        chat?.remove();
        host.remove();
      },
    };
  }

  // Not into the body: pages replace its content, hide it behind their dialogs, or move it aside.
  const place = () => (isInline ? document.querySelector(options.target) : document.documentElement);

  function attach() {
    const where = place();
    // Frameworks that keep pages put copies of it into them, which are nothing but an element.
    for (const copy of where?.querySelectorAll(":scope > bob-chat") ?? []) copy.remove();
    where?.append(widget.host);
  }

  function show() {
    widget = build();
    attach();
    const opens = options.open !== undefined && options.open !== "false" && !SMALL.matches; // a phone it would cover
    const told = wasOpen.get();
    if (isInline || (told === null ? opens : told === "yes")) widget.open(false);
    else if (isWaiting.get() === "yes") widget.load();
  }

  /** Some pages replace all there is, and so take it away unawares. */
  function stay() {
    let returns = 0;
    let last = 0;
    let watched = null;
    const watch = new MutationObserver(() => {
      if (!widget.host.isConnected && place() && returns < MOST_RETURNS) {
        returns = performance.now() - last < 1000 ? returns + 1 : 0;
        last = performance.now();
        if (widget.isAlive()) attach();
        else {
          widget.remove();
          show();
        }
      }
      look();
    });
    const look = () => {
      if (watched === document.documentElement) return;
      watched = document.documentElement;
      watch.disconnect();
      watch.observe(document, { childList: true, subtree: isInline });
      if (watched) watch.observe(watched, { childList: true });
    };
    look();
  }

  function begin() {
    show();
    stay();
    if (!widget.host.isConnected) console.warn("Bob's widget waits for the element of data-target.");
    whenReady();
    emit("ready");
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin, { once: true });
  else begin();
})();
