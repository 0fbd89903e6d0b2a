// The shared text: a register that the greatest stamp wins, so that all copies end equal whatever order messages take.
//
// A stamp is a counter and the id of the page that wrote; a text names the stamps it grew from. A page that receives a
// greater stamp whose past lacks its own latest change sees that it lost: it puts that change into the winner's text and
// sends the result.

/** The one stretch in which `after` differs from `before`: `before[start..end]` became `text`. */
export function change(before, after) {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start += 1;
  let tail = 0;
  while (tail < shorter - start && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  // Never between the two halves of one character.
  if (start > 0 && isHighSurrogate(before[start - 1])) start -= 1;
  if (tail > 0 && isLowSurrogate(before[before.length - tail])) tail -= 1;
  return { start, end: before.length - tail, text: after.slice(start, after.length - tail) };
}

/** Both changes of `base` if they lie apart, else `theirs`. */
export function merge(base, mine, theirs) {
  if (mine === base) return theirs;
  const ours = change(base, mine);
  const other = change(base, theirs);
  if (ours.end <= other.start) return theirs.slice(0, ours.start) + ours.text + theirs.slice(ours.end);
  if (other.end <= ours.start) {
    const shift = theirs.length - base.length;
    return theirs.slice(0, ours.start + shift) + ours.text + theirs.slice(ours.end + shift);
  }
  return theirs;
}

/** The text as this page knows it, together with what it needs to agree with the others. */
export class SharedText {
  #me;
  // What the text was, oldest first, along the line that led here; the last entry is the present.
  #line = [{ rev: 0, by: "", text: "" }];

  constructor(me) {
    this.#me = me;
  }

  get text() {
    return this.#line.at(-1).text;
  }

  /** The text has been written at least once, so this page can tell it to a newcomer. */
  get known() {
    return this.#line.at(-1).rev > 0;
  }

  /** What to send so that others have this text: the stamp, the stamps it grew from, the text. */
  get stamped() {
    const { rev, by, text } = this.#line.at(-1);
    return { rev, by, past: this.#line.slice(0, -1).map(stamp), text };
  }

  /** The user wrote; returns what to send. */
  edit(text) {
    this.#add({ rev: this.#line.at(-1).rev + 1, by: this.#me, text });
    return this.stamped;
  }

  /** Somebody's text came, perhaps our own; true if ours must be sent again because theirs won and lacks our change. */
  receive({ rev, by, past, text }) {
    const present = this.#line.at(-1);
    if (rev < present.rev || (rev === present.rev && by <= present.by)) return false;
    const ancestor = this.#line.findLast((entry) => past.includes(stamp(entry)));
    const merged = ancestor && ancestor !== present ? merge(ancestor.text, present.text, text) : text;
    // What grew beside the winner is no ancestor of it.
    this.#line = this.#line.filter((entry) => past.includes(stamp(entry)));
    this.#add({ rev, by, text });
    if (merged === text) return false;
    this.edit(merged);
    return true;
  }

  #add(entry) {
    this.#line.push(entry);
    if (this.#line.length > REMEMBERED) this.#line.shift();
  }
}

// Pages further apart than this many changes do not merge any more; the greater stamp simply wins.
const REMEMBERED = 32;

const stamp = ({ rev, by }) => `${rev}.${by}`;

const isHighSurrogate = (unit) => unit >= "\ud800" && unit <= "\udbff";
const isLowSurrogate = (unit) => unit >= "\udc00" && unit <= "\udfff";
