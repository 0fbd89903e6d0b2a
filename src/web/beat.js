// A worker that only keeps time. Browsers wake the timers of a hidden page once a minute; those of a worker go on, so
// the heart-beats of a page in the background stay regular and the server does not take it for dead.

const timers = new Map();

onmessage = ({ data: { id, interval } }) => {
  clearInterval(timers.get(id));
  timers.delete(id);
  if (interval > 0) timers.set(id, setInterval(() => postMessage(id), interval));
};
