/** The page: one shelf or two, its language and key, and what goes wrong. */

import * as api from "./api.js";
import { fillAsk, fragment, listenToAsk, recall, remember, request, wanted } from "./ask.js";
import { Column } from "./column.js";
import { $, el, flat, outside, setLocale } from "./dom.js";
import { Outbox } from "./outbox.js";
import { isLanguage, languageNow, list, loadWords, say, setLanguage, t, translate } from "./words.js";

/** Milliseconds until the page looks whether a service that failed is well again; doubled each time. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 15_000;

let shop = null;
let columns = [];
/** The trouble that is shown, {trouble, feedback, waiting}; null where there is none. */
let troubled = null;
let search;
let looking;
let pause = FIRST_PAUSE;

const outbox = new Outbox((event, how, trouble) => {
  for (const column of columns) column.told(event, how);
  if (how === "saved") {
    if (!outbox.waiting.length && troubled) retry(); // the service is well again
    status(t(event.type === "click" ? "saved.click" : "saved.purchase"));
  } else showTrouble(trouble, { feedback: true, waiting: how === "waiting" });
});

const status = (text) => { $("status").textContent = text; };

// The shelf.

const page = {
  outbox,
  request,
  waits: () => status(t("waiting")),
  arrived(column) {
    if (!columns.some(({ pending }) => pending)) clearTrouble();
    column.words();
    head();
    markMoves();
    const n = column.answer.items.length;
    status(t("arrived", { n, page: column.visit.pages.length + 1 }));
    $("next").disabled = !columns.some(({ answer }) => answer?.items.length);
    keep();
  },
  failed(column, trouble) {
    status("");
    showTrouble(trouble);
  },
  beside(item) {
    wanted.scene = "similar";
    wanted.item = item.item_id;
    if (!shop.items.some(({ item_id }) => item_id === item.item_id)) shop.items.push(item);
    fillAsk(shop, search);
    turn("on");
  },
};

/** Ask all shelves anew. */
function load(move) {
  for (const column of columns) column.load(move);
}

/** Ask all shelves anew, and take the reader to the top of them. */
function turn(move) {
  load(move);
  $("heading").focus();
}

/** Show how the second shelf differs from the first. */
function markMoves() {
  const [first, second] = columns;
  first.compareWith(null);
  second?.compareWith(first);
}

/** Say what the shelf is for. */
function head() {
  const { answer } = columns.at(-1);
  if (!answer) return;
  const title = shop.items.find(({ item_id }) => item_id === wanted.item)?.title ?? wanted.item;
  const who = () => answer.shopper ?? el("span", {}, t("anyone"));
  const values = () => ({ shopper: who(), query: wanted.query, title });
  const anyone = answer.scene === "home" && !answer.shopper;
  $("heading").replaceChildren(say(anyone ? "heading.anyone" : `heading.${answer.scene}`, values()));
  $("lede").replaceChildren(answer.scene === "home" ? "" : say("lede.for", values()),
    answer.likes.length ? say("lede.likes", { likes: outside(list(answer.likes.map(flat))) }) : "");
  const policies = [...new Set(columns.map((c) => c.answer?.policy).filter(Boolean))];
  $("about").replaceChildren(say("footer.bundle", {
    name: answer.bundle.name, id: answer.bundle.id, policy: list(policies.map(flat)),
  }));
}

function setColumns(made) {
  columns = made;
  $("columns").replaceChildren(...columns.map((column) => column.element));
  $("columns").dataset.number = columns.length;
  $("compare").dataset.t = columns.length === 2 ? "compare.end" : "compare";
  $("compare").textContent = t($("compare").dataset.t);
}

/** Show a second shelf, or take it away. */
function toggleCompare() {
  const last = columns.at(-1);
  if (columns.length === 2) {
    setColumns([last]);
    markMoves();
    keep();
    return;
  }
  const before = { ranker: "similarity", reasons: shop.reasons.includes("before") ? "before" : "tuned" };
  const first = new Column(shop, before, page, { id: null, pages: last.visit.pages });
  setColumns([first, last]);
  first.load("same");
}

/** Keep all choices in the address. */
function keep() {
  remember({ ...columns.at(-1).choice, compare: columns.length === 2, lang: languageNow() });
}

// Language and key.

function speak(language) {
  setLanguage(language);
  for (const button of document.querySelectorAll(".tools [lang]")) {
    button.setAttribute("aria-pressed", String(button.value === language));
  }
  translate();
  if (troubled) showTrouble(troubled.trouble, troubled);
  if (!shop) return;
  fillAsk(shop, search);
  for (const column of columns) {
    column.words();
    if (column.answer) column.show();
  }
  markMoves();
  head();
  keep();
}

function showKey(open) {
  $("key-open").hidden = !(shop?.keys_needed || api.key() || open);
  $("key-form").hidden = !open;
  $("key-open").setAttribute("aria-expanded", String(open));
  $("key-forget").hidden = !api.key();
}

function listenToKey() {
  $("key-open").addEventListener("click", () => {
    showKey($("key-form").hidden);
    if (!$("key-form").hidden) $("key").focus();
  });
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.setKey($("key").value.trim());
    $("key").value = "";
    retry();
  });
  $("key-forget").addEventListener("click", () => {
    api.setKey("");
    showKey(true);
    status(t("key.forgotten"));
  });
}

// Trouble.

/** Tell what went wrong and what to do; `feedback`: with an event, which is still `waiting`. */
function showTrouble(trouble, { feedback = false, waiting = false } = {}) {
  troubled = { trouble, feedback, waiting };
  const kind = trouble.kind === "key" && !api.key() ? "nokey" : trouble.kind;
  const button = el("button", { type: "button", class: "quiet", on: { click: retry } }, t("trouble.again"));
  $("trouble").replaceChildren(el("p", {},
    t(`trouble.${kind}`),
    feedback ? el("span", {}, " ", t(waiting ? "trouble.feedback" : "trouble.refused")) : null,
    trouble.message ? el("span", { class: "said" }, say("trouble.said", { message: trouble.message })) : null),
  trouble.kind === "key" ? "" : button);
  if (trouble.kind === "key") showKey(true);
  if (trouble.kind === "gone" || trouble.kind === "busy") lookOut();
}

function clearTrouble() {
  troubled = null;
  pause = FIRST_PAUSE;
  clearTimeout(looking);
  $("trouble").replaceChildren();
}

/** Try again what failed. */
function retry() {
  showKey(false);
  if (!shop) start();
  const failed = columns.filter(({ pending }) => pending);
  for (const column of failed) if (!column.busy) column.pending();
  if (!failed.length && !outbox.waiting.length) clearTrouble();
  outbox.hurry();
}

/** Ask now and then whether the service is well again, and go on where it was left. */
function lookOut() {
  clearTimeout(looking);
  looking = setTimeout(async () => {
    if (await api.healthy()) retry();
    else lookOut();
  }, pause);
  pause = Math.min(2 * pause, LONGEST_PAUSE);
}

// The beginning.

async function start() {
  let found;
  try {
    found = await api.shop();
  } catch (trouble) {
    document.body.dataset.state = "closed";
    showTrouble(trouble);
    return;
  }
  if (shop) return;
  shop = found;
  clearTrouble();
  setLocale(shop.locale);
  $("shop").replaceWith(outside(shop.name, { id: "shop" }));
  document.title = `${flat(shop.name)} · Shelftalk`;
  wanted.shopper = shop.shoppers[0]?.shopper ?? "";
  wanted.item = shop.items[0]?.item_id ?? "";
  recall();
  const kept = fragment();
  const [ranker, reasons] = [kept.get("ranker"), kept.get("reasons")];
  setColumns([new Column(shop, {
    ranker: ranker === "similarity" ? ranker : "tuned",
    reasons: shop.reasons.includes(reasons) ? reasons : "tuned",
  }, page)]);
  search = listenToAsk(load);
  $("compare").addEventListener("click", toggleCompare);
  // Whoever is impatient turns one page.
  $("next").addEventListener("click", () => { if (!columns.some(({ busy }) => busy)) turn("on"); });
  $("again").addEventListener("click", () => turn("new"));
  addEventListener("hashchange", () => {
    recall();
    fillAsk(shop, search);
    load("new");
  });
  if (!kept.has("lang") && isLanguage(shop.locale)) setLanguage(shop.locale);
  speak(languageNow());
  showKey(false);
  document.body.dataset.state = "open";
  load("new");
  if (kept.get("compare") === "true") toggleCompare();
  outbox.hurry();
}

async function begin() {
  try {
    await loadWords();
  } catch {
    $("broken").hidden = false;
    return;
  }
  const asked = fragment().get("lang");
  speak(isLanguage(asked) ? asked : navigator.language.startsWith("zh") ? "zh" : "en");
  for (const button of document.querySelectorAll(".tools [lang]")) {
    button.addEventListener("click", () => speak(button.value));
  }
  listenToKey();
  await start();
}

begin();
