// The log of frames as they pass: newest last, bounded, and still while it is paused.

const KEPT = 300;

const isBeat = (text) => text === "\n" || text === "\r\n";

/** Shows frames in `elements`: list, pause, clear, beats (a checkbox: show heart-beats), beatCount. */
export class FrameLog {
  #elements;
  #waiting = [];
  #drawing = false;
  #beats = { sent: 0, got: 0 };

  constructor(elements) {
    this.#elements = elements;
    elements.pause.addEventListener("click", () => this.#togglePause());
    elements.clear.addEventListener("click", () => this.#clear());
    elements.beats.addEventListener("change", () => this.#hideBeats());
    this.#hideBeats();
  }

  /** Notes one frame; `sent` says which way it went. */
  add({ sent, text }) {
    if (isBeat(text)) {
      this.#beats[sent ? "sent" : "got"] += 1;
      this.#elements.beatCount.textContent = `${this.#beats.sent}↑ ${this.#beats.got}↓`;
    }
    this.#waiting.push({ sent, text, at: new Date() });
    if (this.#waiting.length > KEPT) this.#waiting.shift();
    this.#schedule();
  }

  get #paused() {
    return this.#elements.pause.getAttribute("aria-pressed") === "true";
  }

  // A burst of frames is drawn once: the page must never be slower than the socket.
  #schedule() {
    if (this.#drawing || this.#paused) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      if (!this.#paused) this.#draw();
    });
  }

  #draw() {
    const { list } = this.#elements;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(...this.#waiting.splice(0).map(entry));
    while (list.childElementCount > KEPT) list.firstElementChild.remove();
    // Who has scrolled up to read is left there.
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  #togglePause() {
    const { pause } = this.#elements;
    pause.setAttribute("aria-pressed", String(!this.#paused));
    this.#schedule();
  }

  #clear() {
    this.#waiting = [];
    this.#elements.list.replaceChildren();
  }

  #hideBeats() {
    const { list, beats } = this.#elements;
    list.classList.toggle("without-beats", !beats.checked);
  }
}

function entry({ sent, text, at }) {
  const item = document.createElement("li");
  item.className = `${sent ? "sent" : "got"}${isBeat(text) ? " beat" : ""}`;
  const details = document.createElement("details");
  details.append(summary(sent, text, at), span("pre", "", text.replaceAll("\0", "␀")));
  item.append(details);
  return item;
}

function summary(sent, text, at) {
  const line = document.createElement("summary");
  const [command, ...headers] = text.split("\n\n", 1)[0].split("\n");
  const header = (name) => headers.find((one) => one.startsWith(`${name}:`))?.slice(name.length + 1) ?? "";
  const time = span("time", "", at.toTimeString().slice(0, 8));
  line.append(
    span("span", "way", sent ? "↑" : "↓", sent ? "sent" : "received"),
    time,
    span("span", "what", isBeat(text) ? "heart-beat" : command),
    span("span", "where", header("destination") || header("message") || header("receipt-id")),
  );
  return line;
}

function span(tag, className, text, label) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (label) {
    element.role = "img";
    element.ariaLabel = label;
  }
  element.textContent = text;
  return element;
}
