// The front end of a co-editing product as it was written against Spring's simple broker: not a line of it knows that
// the server is another one.

const $ = (id) => document.getElementById(id);

/** Opens the STOMP session of one user at one blog. */
function connect({ id, name, blogId, server }) {
  const client = new StompJs.Client({
    // Each attempt, the first and every reconnect, takes a fresh SockJS object.
    webSocketFactory: () => new SockJS(`${server}/cooperate`),
    connectHeaders: { Authorization: id, Type: "Cooperate" },
    heartbeatIncoming: 4000,
    heartbeatOutgoing: 4000,
    reconnectDelay: 1000,
    onConnect: () => {
      client.subscribe(`/user/${id}/${blogId}/queue/chat`, ({ body }) => showChat(JSON.parse(body)));
      client.subscribe(`/user/${blogId}/topic/users`, ({ body }) => showUsers(JSON.parse(body), id));
      client.subscribe(`/user/${blogId}/topic/popUser`, ({ body }) => showGone(JSON.parse(body)));
      client.subscribe(`/topic/content/${blogId}`, ({ body }) => showContent(JSON.parse(body), id));
      client.subscribe("/topic/over", ({ body }) => showOver(JSON.parse(body), blogId));
      client.publish({
        destination: `/app/pushUser/${id}/${blogId}`,
        body: JSON.stringify({ id, username: name }),
      });
      $("state").textContent = `Connected as ${name}`;
    },
    onStompError: ({ headers }) => ($("state").textContent = `Refused: ${headers.message}`),
    onWebSocketClose: () => ($("state").textContent = client.active ? "Connection lost, coming back" : "Not connected"),
  });
  client.activate();
  return client;
}

function editTogether({ id, name, blogId, server }) {
  const client = connect({ id, name, blogId, server });
  $("blog").textContent = blogId;
  $("enter").hidden = true;
  $("desk").hidden = false;
  $("content").oninput = ({ target }) => client.publish({ destination: `/app/sync/${id}/${blogId}`, body: target.value });
  $("over").onclick = () => client.publish({ destination: `/app/taskOver/${id}`, body: blogId });
  $("leave").onclick = async () => {
    client.publish({ destination: `/app/destroy/${blogId}` });
    await client.deactivate();
    $("enter").hidden = false;
    $("desk").hidden = true;
  };
  $("say").onsubmit = (event) => {
    event.preventDefault();
    const [to, message] = [$("to").value, $("message").value];
    client.publish({ destination: `/app/chat/${name}/${to}/${blogId}`, body: message });
    showChat({ from: name, to, message });
    $("message").value = "";
  };
}

function showUsers(users, me) {
  $("users").replaceChildren(...users.map(({ username }) => make("li", username)));
  const others = users.filter((user) => user.id !== me);
  $("to").replaceChildren(...others.map((user) => Object.assign(make("option", user.username), { value: user.id })));
}

function showChat({ from, to, message }) {
  say(`${from} to ${nameOf(to)}: ${message}`);
}

function showGone({ username }) {
  say(`${username} has left`);
}

function showOver({ blogId }, mine) {
  if (blogId !== mine) return;
  say("The task is finished");
  $("content").disabled = true;
}

function showContent({ from, content }, me) {
  if (from === me) return;
  const area = $("content");
  const { selectionStart, selectionEnd } = area;
  area.value = content;
  area.setSelectionRange(selectionStart, selectionEnd);
}

function nameOf(id) {
  return [...$("to").options].find((option) => option.value === id)?.textContent ?? "you";
}

function say(text) {
  $("chat").append(make("p", text));
  $("chat").scrollTop = $("chat").scrollHeight;
}

function make(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

const asked = Object.fromEntries(new URLSearchParams(location.search));
for (const input of $("enter").querySelectorAll("input")) {
  if (asked[input.name]) input.value = asked[input.name];
}
$("enter").onsubmit = (event) => {
  event.preventDefault();
  editTogether(Object.fromEntries(new FormData($("enter"))));
};
if (asked.id && asked.name && asked.blogId) $("enter").requestSubmit();
