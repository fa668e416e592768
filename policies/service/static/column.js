/** A shelf with its switches, and the visit that it belongs to. */

import * as api from "./api.js";
import { makeCard } from "./card.js";
import { el, freshId } from "./dom.js";
import { note, say, t, translate } from "./words.js";
import { rangeOf } from "./why.js";

/** Most pages of a visit that the service takes. */
const MOST_PAGES = 50;
/** Milliseconds until a wait is told: quicker answers should not flicker. (The sheet waits too.) */
const PATIENT = 250;

const RANKERS = ["similarity", "tuned"];
const REASONS = ["before", "tuned", "none"];

/** A row of choices of which one is made. */
function segments(legend, name, values, chosen, available, choose) {
  const group = freshId(name);
  return el("fieldset", { class: "switch" }, el("legend", { "data-t": legend }),
    el("div", { class: "segments small" }, ...values.map((value) => {
      const known = available.includes(value);
      return el("label", {}, el("input", {
        type: "radio", name: group, value, checked: value === chosen, disabled: !known,
        on: { change: () => choose(value) },
      }), el("span", { "data-t": `${name}.${value}` }));
    })));
}

export class Column {
  /**
   * @param shop what the service offers
   * @param choice {ranker, reasons}
   * @param page the page around it: request(), outbox, waits(), arrived(column),
   *   failed(column, trouble), beside(item)
   */
  constructor(shop, choice, page, visit = { id: null, pages: [] }) {
    this.shop = shop;
    this.choice = choice;
    this.page = page;
    this.visit = visit;
    this.answer = null;
    /** What failed and is to be tried again; null where nothing is. */
    this.pending = null;
    this.busy = false;
    /** Whether the store may hold a shelf of this step that never arrived. */
    this.unsure = false;
    this.cards = [];
    /** What became of the items of this page, by id: {what, how, slate_id}. */
    this.fates = new Map();

    this.title = el("h2", { class: "unseen", id: freshId("column") });
    this.notes = el("ul", { class: "notes" });
    this.list = el("ol", { class: "shelf", "aria-labelledby": this.title.id });
    this.sum = el("p", { class: "sum" });
    const choose = (what) => (value) => {
      this.choice = { ...this.choice, [what]: value };
      this.load("same");
    };
    this.element = el("section", { class: "column", "aria-labelledby": this.title.id },
      this.title,
      el("div", { class: "switches" },
        segments("ranker", "ranker", RANKERS, choice.ranker, RANKERS, choose("ranker")),
        segments("reasons", "reasons", REASONS, choice.reasons, shop.reasons, choose("reasons"))),
      this.notes, this.list, this.sum);
    this.words();
  }

  /**
   * Ask for a shelf and show it.
   *
   * @param move "same" page of the visit, as after a switch; "on" to its next page; "new" visit
   */
  async load(move) {
    this.given?.abort();
    this.unsure ||= this.busy;
    const given = (this.given = new AbortController());
    const visit = this.after(move);
    const waiting = setTimeout(() => this.page.waits(), PATIENT);
    this.setBusy(true);
    try {
      const body = { ...this.page.request(), ...this.choice, explain: true, session: {
        session_id: visit.id ?? undefined, pages: visit.pages,
      } };
      const answer = await api.shelf(body, given.signal);
      this.visit = { id: answer.session_id, pages: visit.pages };
      if (move !== "same") this.fates.clear();
      this.answer = answer;
      this.pending = null;
      this.unsure = false;
      this.show();
      this.page.arrived(this);
    } catch (trouble) {
      if (given.signal.aborted) return;
      if (!(trouble instanceof api.Trouble)) throw trouble; // ours
      this.pending = () => this.load(move);
      this.unsure ||= trouble.kind === "gone" || trouble.kind === "slow";
      this.page.failed(this, trouble);
    } finally {
      clearTimeout(waiting);
      if (this.given === given) this.setBusy(false);
    }
  }

  setBusy(is) {
    this.busy = is;
    this.element.setAttribute("aria-busy", String(is));
  }

  /** The visit as the next request tells it; ours changes only once that is answered. */
  after(move) {
    const { pages } = this.visit;
    const id = this.unsure ? null : this.visit.id;
    if (move === "new" || (move === "on" && pages.length >= MOST_PAGES)) return { id: null, pages: [] };
    // Another shelf in the place of one that was served belongs to a visit of its own with the
    // same past, so that no visit has two shelves in one step.
    if (move === "same" || !this.answer) return { id: this.answer ? null : id, pages };
    return { id, pages: [...pages, this.seen()] };
  }

  /** The present page as the service wants to hear of it. */
  seen() {
    const fated = (...whats) =>
      [...this.fates].filter(([, { what }]) => whats.includes(what)).map(([item]) => item);
    return {
      shown: this.cards.map((card) => card.item.item_id),
      clicked: fated("opened", "bought"),
      bought: fated("bought"),
    };
  }

  /** Put the answer on the page. */
  show() {
    const { items, notes } = this.answer;
    const range = rangeOf(items);
    this.cards = items.map((item) => makeCard(item, range, {
      open: () => this.happened(item, "opened"),
      buy: () => this.happened(item, "bought"),
      beside: () => this.page.beside(item),
    }));
    this.cards.forEach((card) => this.markCard(card));
    this.list.replaceChildren(...this.cards.map((card) => card.element));
    this.notes.replaceChildren(...notes.map((text) => el("li", {}, ...note(text))),
      items.length ? "" : el("li", {}, t("empty")));
    this.count();
  }

  /** Say everything again in the present language. */
  words() {
    this.title.replaceChildren(t("column.title", {
      ranker: t(`ranker.${this.choice.ranker}`), reasons: t(`reasons.${this.choice.reasons}`),
    }));
    translate(this.element);
  }

  markCard(card) {
    const fate = this.fates.get(card.item.item_id);
    if (fate) card.mark(fate.what, fate.how);
  }

  count() {
    const { pages } = this.visit;
    const now = this.seen();
    const all = (what) => pages.reduce((sum, page) => sum + page[what].length, now[what].length);
    this.sum.replaceChildren(say("visit.sum", {
      page: pages.length + 1, opened: all("clicked"), bought: all("bought"),
    }));
  }

  /** A shopper opened or bought an item: tell the service, each once. */
  happened(item, what) {
    const { slate_id } = this.answer;
    const fate = this.fates.get(item.item_id);
    const was = fate?.slate_id === slate_id ? fate.what : undefined;
    if (fate?.what === "bought" || was === what) return;
    // Whoever buys has looked: the log knows no purchase without a click.
    if (!was) this.page.outbox.add(slate_id, item.item_id, "click");
    if (what === "bought") this.page.outbox.add(slate_id, item.item_id, "purchase");
    this.fates.set(item.item_id, { what, how: "sending", slate_id });
    this.cards.filter((card) => card.item === item).forEach((card) => card.mark(what, "saved"));
    this.count();
  }

  /** An event of ours is stored, waits, or was refused. */
  told(event, how) {
    const fate = this.fates.get(event.item_id);
    if (!fate || fate.slate_id !== event.slate_id) return;
    fate.how = how;
    this.cards.filter((card) => card.item.item_id === event.item_id)
      .forEach((card) => card.mark(fate.what, how));
  }

  /** Mark how items moved against another shelf; undefined takes the marks away. */
  compareWith(other) {
    for (const card of this.cards) {
      if (!other) card.compare(undefined);
      else card.compare(other.cards.find((c) => c.item.item_id === card.item.item_id)?.item.position ?? null);
    }
  }
}
