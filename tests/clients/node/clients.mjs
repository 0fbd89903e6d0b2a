// The client libraries behind one face, so that one script can put each through everything.
//
// A session offers: connect, subscribe → { inbox, end }, send, receipt, begin → { id, commit, abort }, cut, leave.
// What a session receives is { body, headers, ack, nack }.

import { createRequire } from "node:module";

import { Inbox, within } from "../support.mjs";

const require = createRequire(import.meta.url);

/** @stomp/stompjs 5 to 7: one class, one way to use it. `library` is the module, `settings` are those of its client. */
export function stompJs(name, library, settings = {}) {
  const open = (options) => new StompJsSession(library, options, settings);
  return { name, version: "1.2", escapes: true, open };
}

/** stompjs 2.3.3 and webstomp-client, which share their shape but for a few arguments. */
export const stompJs2 = {
  name: "stompjs 2.3.3",
  version: "1.1",
  escapes: false,
  protocols: ["v10.stomp", "v11.stomp"],
  open: (options) =>
    new CallbackSession(options, {
      library: require("stompjs2"),
      send: (client, destination, body, headers) => client.send(destination, headers, body),
      unsubscribe(client, id, headers) {
        client.unsubscribe(id);
        // It has no headers for UNSUBSCRIBE, so the next frame asks for the receipt.
        if (headers.receipt) client.send("/topic/nobody", headers, "");
      },
    }),
};

export const webStomp = webStompWith("webstomp-client 1.2.6", {});
export const webStompBinary = webStompWith("webstomp-client 1.2.6 in binary", { binary: true });

function webStompWith(name, settings) {
  return {
    name,
    version: "1.2",
    escapes: false,
    protocols: ["v10.stomp", "v11.stomp", "v12.stomp"],
    open: (options) =>
      new CallbackSession(options, {
        library: require("webstomp-client"),
        settings,
        send: (client, destination, body, headers) => client.send(destination, body, headers),
        unsubscribe: (client, id, headers) => client.unsubscribe(id, headers),
      }),
  };
}

/** @stomp/rx-stomp 2: observables above @stomp/stompjs 7. */
export function rxStomp(name, library) {
  return { name, version: "1.2", escapes: true, open: (options) => new RxSession(library, options) };
}

// Counts heart-beats both ways, underneath any library.
class Beats {
  sent = new Inbox();
  received = new Inbox();

  watch(socket) {
    const send = socket.send.bind(socket);
    socket.send = (data) => {
      if (isBeat(data)) this.sent.push("beat");
      return send(data);
    };
    socket.addEventListener("message", ({ data }) => isBeat(data) && this.received.push("beat"));
    return socket;
  }
}

const isBeat = (data) => data === "\n" || (data.byteLength === 1 && new Uint8Array(data)[0] === 10);

class Session {
  beats = new Beats();
  connections = new Inbox();
  errors = new Inbox();
  socket = null;
  #receipts = 0;

  /** `socket` makes a connection, `login` names the user, `heartBeat` is in ms and for both directions. */
  constructor({ socket, login, heartBeat = 10_000 }) {
    this.login = login;
    this.heartBeat = heartBeat;
    this.makeSocket = () => (this.socket = this.beats.watch(socket()));
  }

  connected() {
    return this.connections.next("CONNECTED");
  }

  /** Runs `action` with a receipt header and waits until the server has answered it. */
  receipt(action) {
    const receipt = `r-${(this.#receipts += 1)}`;
    const answered = new Promise((done) => this.onReceipt(receipt, done));
    action({ receipt });
    return within(answered, `RECEIPT ${receipt}`);
  }

  /** Breaks the connection without DISCONNECT. */
  cut() {
    if (this.socket.terminate) this.socket.terminate();
    else this.socket.close();
  }
}

class StompJsSession extends Session {
  reconnects = true;

  constructor({ Client }, options, settings) {
    super(options);
    this.client = new Client({
      ...settings,
      webSocketFactory: this.makeSocket,
      connectHeaders: { login: this.login },
      heartbeatIncoming: this.heartBeat,
      heartbeatOutgoing: this.heartBeat,
      reconnectDelay: 50,
      onConnect: ({ headers }) => this.connections.push(headers),
      onStompError: ({ headers }) => this.errors.push(headers.message),
    });
  }

  connect() {
    this.client.activate();
    return this.connected();
  }

  subscribe(destination, headers = {}) {
    const inbox = new Inbox();
    const subscription = this.client.subscribe(destination, inbox.push, headers);
    return { inbox, end: (more) => subscription.unsubscribe(more) };
  }

  send(destination, body, headers = {}) {
    this.client.publish({ destination, body, headers });
  }

  begin() {
    return this.client.begin();
  }

  onReceipt(receipt, done) {
    this.client.watchForReceipt(receipt, done);
  }

  /** Resolves only when the server has answered DISCONNECT with a RECEIPT, and the connection is closed. */
  leave() {
    return within(this.client.deactivate(), "deactivate() ends");
  }
}

class CallbackSession extends Session {
  // Coming back is left to the application, which connects anew.
  reconnects = false;
  #dialect;
  #receipts = new Map();
  #subscriptions = 0;

  constructor(options, dialect) {
    super(options);
    this.#dialect = dialect;
  }

  connect() {
    const heartbeat = { incoming: this.heartBeat, outgoing: this.heartBeat };
    this.client = this.#dialect.library.over(this.makeSocket(), { debug: false, heartbeat, ...this.#dialect.settings });
    this.client.debug = () => {};
    this.client.heartbeat = heartbeat;
    this.client.onreceipt = ({ headers }) => this.#receipts.get(headers["receipt-id"])?.();
    this.closed = new Promise((done) => this.socket.addEventListener("close", done));
    this.client.connect(
      { login: this.login },
      ({ headers }) => this.connections.push(headers),
      (problem) => this.errors.push(problem.headers?.message ?? problem),
    );
    return this.connected();
  }

  subscribe(destination, headers = {}) {
    const inbox = new Inbox();
    // webstomp-client makes ids of the time and one of a thousand numbers, which can come twice.
    const id = `sub-${(this.#subscriptions += 1)}`;
    this.client.subscribe(destination, inbox.push, { id, ...headers });
    return { inbox, end: (more = {}) => this.#dialect.unsubscribe(this.client, id, more) };
  }

  send(destination, body, headers = {}) {
    this.#dialect.send(this.client, destination, body, headers);
  }

  begin() {
    return this.client.begin();
  }

  onReceipt(receipt, done) {
    this.#receipts.set(receipt, done);
  }

  /** These send DISCONNECT and close at once, without waiting for an answer. */
  leave() {
    this.client.disconnect();
    return within(this.closed, "the connection closes after DISCONNECT");
  }
}

class RxSession extends Session {
  reconnects = true;

  constructor({ RxStomp }, options) {
    super(options);
    this.rx = new RxStomp();
    this.rx.configure({
      webSocketFactory: this.makeSocket,
      connectHeaders: { login: this.login },
      heartbeatIncoming: this.heartBeat,
      heartbeatOutgoing: this.heartBeat,
      reconnectDelay: 50,
    });
    this.rx.serverHeaders$.subscribe(this.connections.push);
    this.rx.stompErrors$.subscribe(({ headers }) => this.errors.push(headers.message));
  }

  connect() {
    this.rx.activate();
    return this.connected();
  }

  subscribe(destination, headers = {}) {
    const inbox = new Inbox();
    let leaving = {};
    const watching = this.rx.watch({ destination, subHeaders: headers, unsubHeaders: () => leaving }).subscribe(inbox.push);
    return {
      inbox,
      end: (more = {}) => {
        leaving = more;
        watching.unsubscribe();
      },
    };
  }

  send(destination, body, headers = {}) {
    this.rx.publish({ destination, body, headers });
  }

  begin() {
    return this.rx.stompClient.begin();
  }

  onReceipt(receipt, done) {
    this.rx.watchForReceipt(receipt, done);
  }

  leave() {
    return within(this.rx.deactivate(), "deactivate() ends");
  }
}
