/** A reason with its supported claims marked, and the fact behind each on hover, focus and tap. */

import { el, freshId, outside } from "./dom.js";
import { say, t } from "./words.js";

/**
 * Cut a reason into pieces, each with the facts behind it (none where nothing is claimed).
 * Places count characters as the service does, not JavaScript's halves of them; facts that
 * overlap share a piece.
 */
export function pieces(text, facts) {
  const characters = [...text];
  const found = [];
  let at = 0;
  for (const fact of [...facts].sort((a, b) => a.start - b.start || a.end - b.end)) {
    const start = Math.max(0, fact.start);
    const end = Math.min(characters.length, fact.end);
    if (end <= start) continue;
    const last = found.at(-1);
    if (last?.facts.length && start < last.end) {
      last.facts.push(fact);
      last.end = at = Math.max(last.end, end);
      continue;
    }
    if (start > at) found.push({ start: at, end: start, facts: [] });
    found.push({ start, end, facts: [fact] });
    at = end;
  }
  if (at < characters.length) found.push({ start: at, end: characters.length, facts: [] });
  return found.map(({ start, end, facts }) => ({ text: characters.slice(start, end).join(""), facts }));
}

/** The name of a fact as a reader would write it. */
const readable = (key) => key.replaceAll("_", " ");

/** What the catalogue says, as nodes: "battery: battery life 30 h". */
export function factWords({ aspect, key, value }) {
  if (!key && !value) return aspect ? say("fact.aspect", { aspect }) : say("fact.name");
  const values = { aspect, key: readable(key), value };
  return say(aspect ? "fact.full" : "fact.plain", values);
}

/** The tip that is shown now, so that there is one at a time. */
let open = null;

function hide() {
  open?.close();
  open = null;
}

addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
addEventListener("pointerdown", (event) => {
  if (open && !open.holds(event.target)) hide();
});
addEventListener("resize", hide);

/** One claim: its words, which take focus, and the tip that belongs to them. */
function claim(piece, box) {
  const id = freshId("fact");
  const tip = el("span", { role: "tooltip", id, class: "tip", hidden: true },
    el("span", { class: "tip-title" }, t("fact.title")),
    ...piece.facts.map((fact) => el("span", { class: "tip-fact" }, factWords(fact))));
  const mark = el("span", {
    class: "claim", role: "button", tabindex: "0", "aria-describedby": id,
  }, piece.text);
  let pinned = false;
  let timer;

  const self = {
    close() {
      clearTimeout(timer);
      pinned = false;
      tip.hidden = true;
    },
    holds: (node) => mark.contains(node) || tip.contains(node),
  };
  const show = () => {
    clearTimeout(timer);
    if (open !== self) hide();
    open = self;
    tip.hidden = false;
    place(tip, mark, box);
  };
  // The way from the words to the tip crosses a gap: it stays for a moment.
  const leave = () => {
    clearTimeout(timer);
    timer = setTimeout(() => { if (!pinned && document.activeElement !== mark && open === self) hide(); }, 150);
  };
  const pin = () => {
    if (pinned) hide();
    else {
      show();
      pinned = true;
    }
  };
  for (const node of [mark, tip]) {
    node.addEventListener("mouseenter", show);
    node.addEventListener("mouseleave", leave);
  }
  mark.addEventListener("focus", show);
  mark.addEventListener("blur", leave);
  mark.addEventListener("click", pin);
  mark.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    pin();
  });
  return { mark, tip };
}

/**
 * Put a tip beside its words: under those that end the reason, above others, so that it covers as
 * few claims as can be; and where the window has room for it.
 */
function place(tip, mark, box) {
  const frame = box.getBoundingClientRect();
  const lines = mark.getClientRects();
  const first = lines[0];
  const last = lines[lines.length - 1];
  const height = tip.offsetHeight + 5;
  const ends = last.bottom + last.height > box.firstChild.getBoundingClientRect().bottom;
  const fits = last.bottom + height < document.documentElement.clientHeight;
  const below = first.top < height || (ends && fits);
  const left = Math.min(below ? last.left : first.left, frame.right - tip.offsetWidth);
  tip.style.left = `${Math.max(0, left - frame.left)}px`;
  tip.style.top = `${(below ? last.bottom + 5 : first.top - height) - frame.top}px`;
}

/** The reason as a block. */
export function reasonBlock(reason, facts) {
  const words = outside("", { class: "words" });
  const box = el("div", { class: "reason" }, el("p", {}, words));
  for (const piece of pieces(reason, facts)) {
    if (!piece.facts.length) words.append(piece.text);
    else {
      const { mark, tip } = claim(piece, box);
      words.append(mark);
      box.append(tip);
    }
  }
  return box;
}
