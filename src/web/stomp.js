// A STOMP 1.2 client over the browser's own WebSocket: what the demo page needs, and readable in one sitting.
//
// Frames are cut by octets, not characters: content-length counts octets, and a body may hold the NUL that ends a frame.

const NUL = 0;
const LF = 10;
const CR = 13;

const ESCAPES = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", ":": "\\c" };
const UNESCAPES = { "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\c": ":" };

// STOMP 1.2, "Value Encoding": the frames that open a session stay readable for 1.0 peers and are never escaped.
const isPlain = (command) => command === "CONNECT" || command === "CONNECTED";

const toBytes = new TextEncoder();
const toText = new TextDecoder();

/** Writes one frame as the text of one WebSocket message. */
export function encode({ command, headers = {}, body = "" }) {
  const escape = isPlain(command) ? (text) => text : (text) => text.replace(/[\\\n\r:]/g, (c) => ESCAPES[c]);
  const lines = Object.entries(headers).map(([name, value]) => `${escape(name)}:${escape(String(value))}`);
  if (body !== "") lines.push(`content-length:${toBytes.encode(body).length}`);
  return `${[command, ...lines].join("\n")}\n\n${body}\0`;
}

/** Reads every frame of one WebSocket message, text or ArrayBuffer; heart-beats between them yield nothing. */
export function decode(message) {
  const bytes = typeof message === "string" ? toBytes.encode(message) : new Uint8Array(message);
  const frames = [];
  let at = 0;
  for (;;) {
    while (bytes[at] === LF || bytes[at] === CR) at += 1;
    if (at >= bytes.length) return frames;
    const { frame, end } = decodeOne(bytes, at);
    frames.push(frame);
    at = end;
  }
}

function decodeOne(bytes, start) {
  const lines = [];
  let at = start;
  for (;;) {
    const end = bytes.indexOf(LF, at);
    if (end < 0) throw new SyntaxError("a frame without an empty line after its headers");
    const line = toText.decode(bytes.subarray(at, bytes[end - 1] === CR ? end - 1 : end));
    at = end + 1;
    if (line === "") break;
    lines.push(line);
  }
  const command = lines.shift();
  const headers = readHeaders(command, lines);
  const length = headers["content-length"];
  const end = length === undefined ? bytes.indexOf(NUL, at) : at + Number(length);
  if (bytes[end] !== NUL) throw new SyntaxError(`a ${command} frame without the octet that ends it`);
  return { frame: { command, headers, body: toText.decode(bytes.subarray(at, end)) }, end: end + 1 };
}

function readHeaders(command, lines) {
  const unescape = isPlain(command) ? (text) => text : (text) => text.replace(/\\[\\nrc]/g, (pair) => UNESCAPES[pair]);
  // No prototype: a header may be called "constructor".
  const headers = Object.create(null);
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon < 0) throw new SyntaxError(`a ${command} header without a colon: ${line}`);
    const name = unescape(line.slice(0, colon));
    // STOMP 1.2, "Repeated Header Entries": the first one counts.
    headers[name] ??= unescape(line.slice(colon + 1));
  }
  return headers;
}

/** Who beats how often, in ms and 0 for never: STOMP 1.2, "Heart-beating". */
export function negotiate([canSend, wants], header = "0,0") {
  const [peerSends, peerWants] = header.split(",").map(Number);
  const agree = (sender, receiver) => (sender > 0 && receiver > 0 ? Math.max(sender, receiver) : 0);
  return { send: agree(canSend, peerWants), receive: agree(peerSends, wants) };
}

/** How long to wait before the next attempt: doubling to 15 s, and spread out so that a crowd does not return at once. */
export function backoff(attempt, random = Math.random()) {
  return Math.min(15_000, 500 * 2 ** attempt) * (0.5 + random / 2);
}

/**
 * One session that comes back by itself, with its subscriptions, until `disconnect` is called.
 *
 * Events: "state" (detail: { state, ...facts }; "connecting", "connected", "waiting", "closed"), "frame" (detail:
 * { sent, text }) for everything that passes, "fault" (detail: text) when the server answers ERROR.
 */
export class StompClient extends EventTarget {
  #options;
  #socket = null;
  #subscriptions = new Map();
  #receipts = new Map();
  #nextId = 0;
  #attempt = 0;
  #retry = 0;
  #beats = [];
  #lastHeard = 0;
  #wanted = false;

  /** `options`: url, login, heartBeat ([ms sent, ms wanted]), every (interval => cancel, for timers that never sleep). */
  constructor(options) {
    super();
    this.#options = { heartBeat: [10_000, 10_000], every: everyByTimer, ...options };
  }

  get connected() {
    return this.#socket?.stomp === true;
  }

  connect() {
    this.#wanted = true;
    this.#open();
  }

  /** Tries again now instead of when the pause is over, for a network that has just come back. */
  hurry() {
    if (this.#wanted && !this.#socket) this.#open();
  }

  /** Drops the connection without a word, as a network does; the session then comes back by itself. */
  cut() {
    this.#socket?.close();
  }

  /** Says good-bye and waits, a moment at most, until the server has taken note. */
  async disconnect() {
    this.#wanted = false;
    clearTimeout(this.#retry);
    const socket = this.#socket;
    if (!socket) return this.#tell("closed");
    if (socket.stomp) {
      const taken = new Promise((done) => this.#receipts.set("bye", done));
      this.#write({ command: "DISCONNECT", headers: { receipt: "bye" } });
      await Promise.race([taken, new Promise((done) => setTimeout(done, 2000))]);
    }
    socket.close();
  }

  /** Calls `receive(frame)` for each message, over reconnects as well; returns the function that ends it. */
  subscribe(destination, receive, headers = {}) {
    const id = `s${this.#nextId++}`;
    this.#subscriptions.set(id, { headers: { ...headers, destination }, receive });
    if (this.connected) this.#sendSubscribe(id);
    return () => {
      this.#subscriptions.delete(id);
      if (this.connected) this.#write({ command: "UNSUBSCRIBE", headers: { id } });
    };
  }

  /** Sends now, or answers false: what is typed while disconnected is for the caller to keep. */
  send(destination, body, headers = {}) {
    if (!this.connected) return false;
    this.#write({ command: "SEND", headers: { ...headers, destination }, body });
    return true;
  }

  #open() {
    clearTimeout(this.#retry);
    this.#tell("connecting", { attempt: this.#attempt });
    const socket = new WebSocket(this.#options.url, ["v12.stomp"]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#read(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  #greet() {
    const { login, heartBeat } = this.#options;
    const host = new URL(this.#options.url).hostname;
    this.#write({
      command: "CONNECT",
      headers: { "accept-version": "1.2", host, login, "heart-beat": heartBeat.join(",") },
    });
  }

  #read(data) {
    this.#lastHeard = Date.now();
    this.#log(false, data);
    let frames;
    try {
      frames = decode(data);
    } catch (error) {
      // The boundary between frames is lost: start afresh.
      this.#emit("fault", error.message);
      this.#socket.close();
      return;
    }
    for (const frame of frames) this.#take(frame);
  }

  #take(frame) {
    switch (frame.command) {
      case "CONNECTED":
        return this.#begin(frame);
      case "MESSAGE":
        return this.#subscriptions.get(frame.headers.subscription)?.receive(frame);
      case "RECEIPT":
        return this.#receipts.get(frame.headers["receipt-id"])?.();
      case "ERROR":
        return this.#emit("fault", frame.headers.message || frame.body || "the server ended the session");
    }
  }

  #begin(frame) {
    this.#socket.stomp = true;
    this.#attempt = 0;
    this.#startBeating(negotiate(this.#options.heartBeat, frame.headers["heart-beat"]));
    for (const id of this.#subscriptions.keys()) this.#sendSubscribe(id);
    this.#tell("connected", { server: frame.headers.server });
  }

  #startBeating({ send, receive }) {
    const { every } = this.#options;
    if (send > 0) this.#beats.push(every(send, () => this.#writeText("\n")));
    if (receive > 0) {
      // Two intervals: a beat may be late once without being lost.
      this.#beats.push(every(receive, () => Date.now() - this.#lastHeard > 2 * receive && this.#abandon()));
    }
  }

  // A dead peer answers no closing handshake, so do not wait for one.
  #abandon() {
    const socket = this.#socket;
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.#closed(1006, "the server fell silent");
  }

  #closed(code, reason) {
    for (const stop of this.#beats.splice(0)) stop();
    this.#socket = null;
    for (const done of this.#receipts.values()) done();
    this.#receipts.clear();
    if (!this.#wanted) return this.#tell("closed", { code, reason });
    const pause = backoff(this.#attempt++);
    this.#retry = setTimeout(() => this.#open(), pause);
    this.#tell("waiting", { code, reason, until: Date.now() + pause });
  }

  #sendSubscribe(id) {
    this.#write({ command: "SUBSCRIBE", headers: { id, ...this.#subscriptions.get(id).headers } });
  }

  #write(frame) {
    this.#writeText(encode(frame));
  }

  #writeText(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(text);
    this.#log(true, text);
  }

  #log(sent, data) {
    this.#emit("frame", { sent, text: typeof data === "string" ? data : toText.decode(data) });
  }

  #tell(state, facts = {}) {
    this.#emit("state", { state, ...facts });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function everyByTimer(interval, action) {
  const timer = setInterval(action, interval);
  return () => clearInterval(timer);
}
