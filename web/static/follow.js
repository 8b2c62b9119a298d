// The end of a scrolled element, which stays in view while it grows, unless somebody has scrolled away from it.

const NEAR = 48; // pixels from the end: whoever scrolls down to there follows it again
const KEYS_AWAY = new Set(["ArrowUp", "PageUp", "Home"]);

export class Follow {
  #log;
  #changed;
  #follows = true;
  #top = 0; // where it was scrolled to
  #height = 0; // at which the end was last put into view
  #finger = 0;

  /** `changed` is called with whether there is something out of view to go to. */
  constructor(log, changed) {
    this.#log = log;
    this.#changed = changed;
    // A step may be a few pixels, and takes a while to be scrolled: what is meant counts, before anything has moved.
    const listen = (kind, listener) => log.addEventListener(kind, listener, { passive: kind !== "keydown" });
    listen("wheel", ({ deltaY, ctrlKey, shiftKey }) => deltaY < 0 && !ctrlKey && !shiftKey && this.leave());
    listen("touchstart", ({ touches }) => (this.#finger = touches[0].clientY));
    listen("touchmove", ({ touches }) => {
      if (touches[0].clientY > this.#finger) this.leave();
      this.#finger = touches[0].clientY;
    });
    listen("keydown", (event) => {
      if (KEYS_AWAY.has(event.key) || (event.key === " " && event.shiftKey)) this.leave();
      else if (event.key === "End") {
        event.preventDefault();
        this.toEnd();
      }
    });
    listen("scroll", () => this.#scrolled());
  }

  /** Puts the end into view, and keeps it there. */
  toEnd() {
    this.#follows = true;
    this.grew();
  }

  /** Stays where it is, where there is anything above. */
  leave() {
    if (this.#log.scrollTop > 0) this.#follows = false;
    this.#tell();
  }

  /** What is in it may be higher than it was. */
  grew() {
    const log = this.#log;
    if (this.#follows) {
      log.scrollTop = log.scrollHeight;
      this.#height = log.scrollHeight;
      this.#top = log.scrollTop;
    }
    this.#tell();
  }

  #scrolled() {
    const log = this.#log;
    const moved = log.scrollTop - this.#top;
    this.#top = log.scrollTop;
    if (!this.#follows) this.#follows = moved > 0 && this.#left < NEAR;
    // What has grown or shrunk since scrolls too; only at the same height it was somebody, with a scroll bar, say.
    else if (log.scrollHeight !== this.#height) this.grew();
    else this.#follows = moved >= 0 || this.#left < 1;
    this.#tell();
  }

  /** How many pixels there are below. */
  get #left() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight;
  }

  #tell() {
    this.#changed(!this.#follows && this.#left >= NEAR);
  }
}
