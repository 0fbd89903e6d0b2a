// The text area that everyone shares: what the user types goes out, what others typed comes in around the caret.

import { SharedText, change } from "./text.js";

/** Typing is sent in steps of this length: quick enough to look alive, slow enough not to send every key. */
const PAUSE_MS = 120;

/** A newcomer's question is answered by one page, the one whose pause is the shortest. */
const ANSWER_WITHIN_MS = 300;

export class SharedEditor {
  #area;
  #publish;
  #shared;
  #me;
  #timer = 0;
  #answer = 0;
  #composing = false;

  /** `publish(content)` sends an object to every page of the room, this one included. */
  constructor(area, me, publish) {
    this.#area = area;
    this.#me = me;
    this.#publish = publish;
    this.#shared = new SharedText(me);
    area.addEventListener("input", this.#typed);
    area.addEventListener("compositionstart", this.#compose);
    area.addEventListener("compositionend", this.#compose);
  }

  /** A session begins: ask for the text, and tell what was typed while there was none. */
  begin() {
    this.#flush();
    this.#publish({ ask: this.#me });
    if (this.#shared.known) this.#publish(this.#shared.stamped);
  }

  /** Takes what a page of the room sent; answers true if the text came from somebody. */
  receive(content) {
    if (content.ask !== undefined) {
      if (content.ask !== this.#me && this.#shared.known) this.#answerSoon();
      return false;
    }
    if (!isStamped(content)) return false;
    // Somebody told the newcomer already.
    if (content.rev === this.#shared.stamped.rev) clearTimeout(this.#answer);
    this.#keepTyped();
    if (this.#shared.receive(content)) this.#publish(this.#shared.stamped);
    this.#show();
    return true;
  }

  /** Stops listening and forgets the text. */
  end() {
    clearTimeout(this.#timer);
    clearTimeout(this.#answer);
    this.#area.removeEventListener("input", this.#typed);
    this.#area.removeEventListener("compositionstart", this.#compose);
    this.#area.removeEventListener("compositionend", this.#compose);
    this.#area.value = "";
  }

  #typed = () => {
    this.#timer ||= setTimeout(() => this.#flush(), PAUSE_MS);
  };

  // Changing the area under an input method would break the character being composed.
  #compose = ({ type }) => {
    this.#composing = type === "compositionstart";
    if (!this.#composing) {
      this.#keepTyped();
      this.#show();
    }
  };

  #answerSoon() {
    clearTimeout(this.#answer);
    this.#answer = setTimeout(() => this.#publish(this.#shared.stamped), Math.random() * ANSWER_WITHIN_MS);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#keepTyped();
  }

  #keepTyped() {
    if (this.#composing || this.#area.value === this.#shared.text) return;
    this.#publish(this.#shared.edit(this.#area.value));
  }

  #show() {
    if (this.#composing) return;
    const { start, end, text } = change(this.#area.value, this.#shared.text);
    if (start === end && text === "") return;
    const { scrollTop } = this.#area;
    this.#area.setRangeText(text, start, end, "preserve");
    this.#area.scrollTop = scrollTop;
  }
}

// What arrives was written by somebody else's page: trust its shape no further than this.
function isStamped({ rev, by, past, text }) {
  return Number.isSafeInteger(rev) && typeof by === "string" && Array.isArray(past) && typeof text === "string";
}
