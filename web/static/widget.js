// <script src="https://bob.example/widget.js" defer></script>
//
// Shows a button, and fetches the chat when somebody opens it. Options are data-… of the script element: title, color,
// greeting, assistant, position (left or right), language, open, key.
(() => {
  const script = document.currentScript;
  const mark = Symbol.for("bob.widget");
  if (!script || window[mark]) return;
  window[mark] = true;

  const base = new URL(".", script.src);
  const options = checked({ ...script.dataset });

  function checked({ title, color, greeting, assistant, position, language, open, key }) {
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
    const shade = color === undefined ? undefined : shadeOf(color);
    if (shade === null) ignored.push("data-color");
    const given = {
      title: text("title", title, 80),
      greeting: text("greeting", greeting, 1000),
      assistant: text("assistant", assistant, 40),
      position: matching("position", position, /^(left|right)$/) || "right",
      language: matching("language", language, /^[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{2,8})*$/),
      open: matching("open", open, /^(true|false|)$/),
      key: matching("key", key, /^[\x21-\x7e]{1,200}$/),
      ...(shade || {}),
    };
    if (ignored.length) console.warn(`Bob's widget ignores what it does not understand: ${ignored.join(", ")}`);
    return given;
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
    .launch svg {
      display: block; width: 34px; margin: auto;
      fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round;
    }
    .panel {
      position: fixed; bottom: 92px; right: 20px; width: 400px;
      height: min(640px, 100vh - 112px); height: min(640px, 100dvh - 112px);
      display: flex; overflow: hidden; border-radius: 18px; box-shadow: 0 0 0 1px #0001, 0 12px 48px #0004;
    }
    .left .launch, .left .panel { right: auto; left: 20px; }
    @media (max-width: 480px), (max-height: 480px) {
      .panel, .left .panel { inset: 0; width: auto; height: auto; border-radius: 0; }
      .panel:not([hidden]) ~ .launch { display: none; }
    }
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

  // Whether it is open, for the other pages of this website in this tab.
  const remembered = {
    get isOpen() {
      let told = null;
      try {
        told = sessionStorage.getItem("bob-chat-open");
      } catch {
        // As it was never told, then.
      }
      return told === null ? options.open !== undefined && options.open !== "false" : told === "yes";
    },
    set isOpen(open) {
      try {
        sessionStorage.setItem("bob-chat-open", open ? "yes" : "no");
      } catch {
        // It begins anew on each page, then.
      }
    },
  };

  function begin() {
    const name = options.title || options.assistant || "Bob";
    const host = document.createElement("bob-chat");
    const root = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const panel = part("div", { class: "panel", id: "panel", role: "dialog", "aria-label": name });
    panel.hidden = true;
    const told = { "aria-label": name, "aria-expanded": "false", "aria-haspopup": "dialog" };
    const launch = part("button", { class: "launch", type: "button", ...told }, face());
    const frame = part("div", { class: `frame ${options.position}` }, panel, launch);
    frame.style.setProperty("--accent", options.color || "#17705f");
    frame.style.setProperty("--on-accent", options.onColor || "#ffffff");
    root.append(frame);
    // Not into the body: pages replace its content, hide it behind their dialogs, or move it aside.
    document.documentElement.append(host);

    let chat = null;
    let loading = null;

    async function load() {
      const styled = async (name) => {
        const reply = await fetch(new URL(`static/${name}`, base), { credentials: "omit" });
        if (!reply.ok) throw new Error(`${name}: ${reply.status}`);
        return new CSSStyleSheet().replace(await reply.text());
      };
      const [module, ...looks] = await Promise.all([
        import(new URL("static/chat.js", base)),
        styled("chat.css"),
        styled("answer.css"),
      ]);
      root.adoptedStyleSheets = [...looks, sheet];
      chat = await module.mount(panel, { ...options, close });
    }

    async function open(byHand) {
      if (loading) return;
      launch.classList.remove("failed");
      if (!chat) {
        launch.classList.add("waiting");
        loading = load();
        try {
          await loading;
        } catch (problem) {
          launch.classList.add("failed");
          console.warn("Bob's chat could not be loaded.", problem);
        }
        loading = null;
        launch.classList.remove("waiting");
        if (!chat) return;
      }
      panel.hidden = false;
      launch.setAttribute("aria-expanded", "true");
      if (byHand) {
        remembered.isOpen = true;
        chat.focus();
      }
    }

    function close() {
      panel.hidden = true;
      remembered.isOpen = false;
      launch.setAttribute("aria-expanded", "false");
      launch.focus();
    }

    launch.addEventListener("click", () => (panel.hidden ? open(true) : close()));
    for (const kind of ["keydown", "keypress", "keyup"]) {
      frame.addEventListener(kind, (event) => {
        if (kind === "keydown" && event.key === "Escape" && !event.isComposing && !panel.hidden) close();
        event.stopPropagation(); // what is typed here is no shortcut of the page's
      });
    }
    if (remembered.isOpen) open(false);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin, { once: true });
  else begin();
})();
