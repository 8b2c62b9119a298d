// Who a website says its visitor is. It is fetched when a website says so; what it says is kept nowhere.

/** The website's word: a token, or a function that gives one or a promise of one, and another one when it has expired. */
export class Identity {
  #given;
  #token = null;
  #asking = null;

  constructor(given) {
    this.#given = given;
  }

  /** A token. Throws where the website has none. */
  async token() {
    return this.#token ?? this.#ask();
  }

  /** Another token than this one, which is not taken any more. Null where the website has no other. */
  async renewed(former) {
    if (this.#token === former && typeof this.#given !== "function") return null;
    try {
      const token = this.#token === former ? await this.#ask() : this.#token; // somebody has asked meanwhile
      return token === former ? null : token;
    } catch (problem) {
      console.warn("Bob was given no other identity.", problem);
      return null;
    }
  }

  #ask() {
    const ask = async () => {
      const token = await (typeof this.#given === "function" ? this.#given() : this.#given);
      if (typeof token !== "string" || !token) throw new TypeError("An identity is a token, as text.");
      this.#token = token;
      return token;
    };
    this.#asking ??= ask().finally(() => (this.#asking = null));
    return this.#asking;
  }
}
