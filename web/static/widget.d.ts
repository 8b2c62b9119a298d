// What Bob's widget offers to scripts of the page around it. Reference it, or copy it into your project:
// /// <reference path="widget.d.ts" />

/** What is told of each event. */
export interface BobEvents {
  /** The widget is on the page. Whoever listens later is told at once. */
  ready: Record<string, never>;
  open: Record<string, never>;
  close: Record<string, never>;
  question: { text: string };
  /** `question` is null where the browser does not know it any more, as after a reload of a private one. */
  answer: { question: string | null; text: string; assistant: string; isStopped: boolean };
  /** Somebody says what an answer was worth; once more with words, where they say why. */
  feedback: { question: string | null; text: string; good: boolean; words: string | null };
  /** Somebody wants to talk to a person. By `session` the transcript is read: GET /sessions/{session}/turns. */
  handover: { session: string | null };
  /** There is no answer. `question` is null where there was none, since the chat could not be loaded. */
  error: { question: string | null; message: string };
}

/** A token that the website's server has signed, or what gives one: it is called again when one has expired. */
export type BobIdentity = string | (() => string | Promise<string>);

export type BobListener<Event extends keyof BobEvents> = (detail: BobEvents[Event]) => void;

/** A call as it is left in an array before the widget is loaded: `(window.Bob = window.Bob || []).push(["open"])`. */
export type BobCall =
  | ["open"]
  | ["close"]
  | ["toggle"]
  | ["end"]
  | ["ask", string]
  | ["identify", BobIdentity]
  | ["on", keyof BobEvents, (detail: any) => void]; // TypeScript infers nothing from the event in an array

export interface BobWidget {
  open(): Promise<void>;
  close(): Promise<void>;
  toggle(): Promise<void>;
  /** Opens it and asks: whether it did. It does not while another question is being answered. */
  ask(question: string): Promise<boolean>;
  /** Calls `listener` at each such event, until what is returned is called. */
  on<Event extends keyof BobEvents>(event: Event, listener: BobListener<Event>): () => void;
  /**
   * Somebody is logged in: from now on they ask, in their own conversations. One that was begun here without a name
   * becomes theirs. What Bob does not take is an `error` event.
   */
  identify(identity: BobIdentity): Promise<void>;
  /** Somebody logs out: the conversation is left, and nothing of it or of who they are stays in this browser. */
  end(): Promise<void>;
  push(...calls: BobCall[]): void;
}

declare global {
  interface Window {
    /** Before the widget is loaded it may be an array of calls. */
    Bob: BobWidget;
  }
}
