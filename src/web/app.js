// The demo page: joins a room over STOMP and shows what passes. Everything from others enters the page as text, never
// as markup.

import { SharedEditor } from "./editor.js";
import { FrameLog } from "./frames.js";
import { StompClient } from "./stomp.js";

const ENDPOINT = document.querySelector('meta[name="stomp-endpoint"]').content;

// Each is at least 3.7:1 against the cards of both colour schemes; who is who is always written as well.
const COLORS = ["#d4500f", "#0f8a80", "#8b5cf6", "#d6317c", "#2f7fe6", "#a97a12", "#5c8f14", "#8a7d72"];

/** Chat lines kept on the page. */
const LINES = 500;

const $ = (id) => document.getElementById(id);

const frames = new FrameLog({
  list: $("frames"),
  pause: $("pause"),
  clear: $("clear"),
  beats: $("beats"),
  beatCount: $("beat-count"),
});

let visit = null;
let countdown = 0;

/** One user in one room, from Join to Leave. */
class Visit {
  #members = new Map();
  // Kept messages are delivered again if their arrival could not be proved; the id tells.
  #seen = new Set();
  #node = "";

  constructor(user, room) {
    this.user = user;
    this.room = room;
    this.client = new StompClient({ url: endpointUrl(), login: user, every: everyByWorker });
    this.editor = new SharedEditor($("text"), crypto.getRandomValues(new Uint32Array(1))[0].toString(36), (content) =>
      this.#send("text", JSON.stringify(content)),
    );
    this.client.addEventListener("frame", ({ detail }) => frames.add(detail));
    this.client.addEventListener("fault", ({ detail }) => showFault(detail));
    this.client.addEventListener("state", ({ detail }) => this.#stateChanged(detail));
    const topic = `/topic/demo/${room}`;
    this.#on(`${topic}/members`, (members) => this.#showMembers(members));
    this.#on(`${topic}/chat`, ({ from, message }) => this.#say(from, message));
    this.#on(`${topic}/text`, ({ from, content }) => this.#takeText(from, content));
    this.#on("/app/demo/node", (node) => {
      this.#node = node;
      this.#show();
    });
    this.#on("/user/queue/whispers", ({ from, message }) => this.#say(from, message, "whispers to you"));
  }

  whisper(to, message) {
    if (!this.client.send(`/app/demo/whisper/${to}`, message)) return false;
    if (to !== this.user) this.#say(this.user, message, `whisper to ${to}`);
    return true;
  }

  chat(message) {
    return this.#send("chat", message);
  }

  async end() {
    await this.client.disconnect();
    this.editor.end();
  }

  #on(destination, take) {
    this.client.subscribe(destination, ({ headers, body }) => {
      if (this.#isRepeated(headers["message-id"])) return;
      take(JSON.parse(body));
    });
  }

  #isRepeated(id) {
    if (this.#seen.has(id)) return true;
    this.#seen.add(id);
    if (this.#seen.size > 1000) this.#seen.delete(this.#seen.values().next().value);
    return false;
  }

  #send(what, body) {
    return this.client.send(`/app/demo/${what}/${this.room}`, body, { "content-type": "application/json" });
  }

  #stateChanged(detail) {
    showState(detail, this.user);
    if (detail.state !== "connected") {
      showNode("");
      return;
    }
    showFault("");
    this.#send("join", JSON.stringify({ name: this.user, color: colorOf(this.user) }));
    this.editor.begin();
  }

  #takeText(from, content) {
    if (content && this.editor.receive(content)) $("author").textContent = `last change by ${from}`;
  }

  #showMembers(members) {
    this.#members = new Map(members.map((member) => [member.name, member]));
    this.#show();
  }

  #show() {
    // Where there is only one node, nobody needs to see its name.
    const nodes = new Set([...this.#members.values()].map(({ node }) => node)).add(this.#node);
    const several = nodes.size > 1 || isGiven(this.#node);
    showNode(several ? this.#node : "");
    const names = [...this.#members.keys()].sort((a, b) => a.localeCompare(b));
    const others = names.filter((name) => name !== this.user);
    $("members").replaceChildren(...names.map((name) => this.#memberItem(name, several)));
    $("known").replaceChildren(...others.map((name) => make("option", { value: name })));
    // Before the first list nobody is known, not even the user.
    $("alone").hidden = others.length > 0 || names.length === 0;
  }

  #memberItem(name, withNode) {
    const item = make("li");
    const mine = name === this.user;
    const chip = mine
      ? make("span", { className: "chip", textContent: `${name} (you)` })
      : make("button", { className: "chip", type: "button", textContent: name, title: `Whisper to ${name}` });
    if (!mine) {
      chip.addEventListener("click", () => {
        $("to").value = name;
        $("message").focus();
      });
    }
    chip.style.setProperty("--who", this.#colorFor(name));
    const node = withNode && this.#members.get(name).node;
    if (node) chip.append(make("span", { className: "node", textContent: node, title: "The node of this member" }));
    item.append(chip);
    return item;
  }

  #colorFor(name) {
    const color = this.#members.get(name)?.color;
    return /^#[0-9a-f]{6}$/i.test(color) ? color : colorOf(name);
  }

  #say(from, message, tag = "") {
    const line = make("div", { className: tag ? "said whisper" : "said" });
    line.style.setProperty("--who", this.#colorFor(from));
    const text = make("p");
    text.append(make("b", { textContent: from }), " ");
    if (tag) text.append(make("span", { className: "tag", textContent: `(${tag})` }), " ");
    text.append(message);
    line.append(text);
    const chat = $("chat");
    const atEnd = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 60;
    chat.append(line);
    while (chat.childElementCount > LINES) chat.firstElementChild.remove();
    if (atEnd) chat.scrollTop = chat.scrollHeight;
  }
}

function join(user, room) {
  history.replaceState(null, "", `?${new URLSearchParams({ user, room })}`);
  document.title = `${user} in ${room} · Stampede demo`;
  $("room-title").textContent = room;
  $("second").href = `?${new URLSearchParams({ room })}`;
  $("chat").replaceChildren();
  $("members").replaceChildren();
  $("author").textContent = "";
  $("door").hidden = true;
  $("room").hidden = $("leave").hidden = false;
  visit = new Visit(user, room);
  visit.client.connect();
  $("text").focus({ preventScroll: true });
}

async function leave() {
  if (!visit) return;
  const ended = visit;
  visit = null;
  await ended.end();
  document.title = "Stampede demo";
  $("door").hidden = false;
  $("room").hidden = $("leave").hidden = true;
  $("user").value = ended.user;
  $("user").focus();
}

function showState({ state, reason, until }, user) {
  const texts = {
    connecting: "Connecting…",
    connected: `Connected as ${user}`,
    waiting: `Connection lost${reason ? ` (${reason})` : ""}, coming back`,
    closed: "Not connected",
  };
  $("line").dataset.state = state;
  $("state").textContent = texts[state];
  $("again").hidden = state !== "waiting";
  $("cut").hidden = state !== "connected";
  for (const button of $("say").querySelectorAll("button")) button.disabled = state !== "connected";
  clearInterval(countdown);
  $("countdown").textContent = "";
  if (state !== "waiting") return;
  const tick = () => ($("countdown").textContent = `in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s`);
  tick();
  countdown = setInterval(tick, 500);
}

/** Says on which node this page is; nothing where there is only one to be on. */
function showNode(node) {
  $("node").textContent = node && `on ${node}`;
  $("node").hidden = !node;
}

/** Whether somebody gave this node its name. A random one (letters and digits) tells a person nothing until there are two. */
function isGiven(node) {
  return node !== "" && !/^[0-9a-z]{11,13}$/.test(node);
}

function showFault(text) {
  $("fault").textContent = text && `The server refused: ${text}`;
  $("fault").hidden = !text;
}

function endpointUrl() {
  const url = new URL(ENDPOINT, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function colorOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 65_521;
  return COLORS[sum % COLORS.length];
}

function make(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

const worker = new Worker("/demo/beat.js");
const alarms = new Map();
let alarmId = 0;
worker.onmessage = ({ data }) => alarms.get(data)?.();

function everyByWorker(interval, action) {
  const id = (alarmId += 1);
  alarms.set(id, action);
  worker.postMessage({ id, interval });
  return () => {
    alarms.delete(id);
    worker.postMessage({ id, interval: 0 });
  };
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  join($("user").value, $("room-name").value);
});

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const [to, message] = [$("to").value, $("message")];
  const sent = to ? visit?.whisper(to, message.value) : visit?.chat(message.value);
  // What could not be sent stays in the field.
  if (sent) message.value = "";
  message.focus();
});

$("to").addEventListener("keydown", ({ key, target }) => {
  if (key === "Escape") target.value = "";
});

$("leave").addEventListener("click", leave);
$("again").addEventListener("click", () => visit?.client.hurry());
$("cut").addEventListener("click", () => visit?.client.cut());
addEventListener("online", () => visit?.client.hurry());

const asked = new URLSearchParams(location.search);
if (asked.get("room")) $("room-name").value = asked.get("room");
if (asked.get("user")) $("user").value = asked.get("user");
if (asked.get("user") && $("join").checkValidity()) join($("user").value, $("room-name").value);
else $("user").focus();
