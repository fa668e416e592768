/** One item of a shelf. */

import { factWords, reasonBlock } from "./claims.js";
import { el, freshId, outside } from "./dom.js";
import { money, say, t } from "./words.js";
import { whyBlock } from "./why.js";

/**
 * Make the card of an item.
 *
 * @param item as the service answered it
 * @param range of contributions on its shelf
 * @param acts what may happen to it: open(), buy(), beside()
 */
export function makeCard(item, range, acts) {
  const titleId = freshId("title");
  const aboutId = freshId("about");
  const buyId = freshId("buy");

  const title = el("button", {
    type: "button", class: "title", id: titleId, "aria-expanded": "false", "aria-controls": aboutId,
  }, outside(item.title));
  const buy = el("button", {
    type: "button", class: "buy", id: buyId, "aria-labelledby": `${buyId} ${titleId}`,
  }, t("buy"));
  const state = el("span", { class: "state" });
  const moved = el("span", { class: "moved" });
  const about = el("div", { class: "about", id: aboutId, hidden: true },
    item.facts.length
      ? el("ul", {}, ...item.facts.map((fact) => el("li", {}, factWords(fact))))
      : el("p", {}, t("about.nothing")),
    el("p", { class: "help" }, say("about.source", {
      source: el("span", {}, t(`source.${item.reason_source}`)), id: item.item_id,
    })),
    el("button", { type: "button", class: "quiet", on: { click: acts.beside } }, t("about.beside")));

  title.addEventListener("click", () => {
    const opens = about.hidden;
    about.hidden = !opens;
    title.setAttribute("aria-expanded", String(opens));
    if (opens) acts.open();
  });
  buy.addEventListener("click", acts.buy);

  const element = el("li", { class: "card" },
    el("div", { class: "card-top" },
      el("span", { class: "place" }, String(item.position + 1)),
      outside(item.brand, { class: "brand" }), moved, state),
    el("h3", {}, title),
    item.reason ? reasonBlock(item.reason, item.facts) : null,
    el("div", { class: "card-foot" },
      el("span", { class: "price" }, money(item.price, item.currency)), buy),
    about,
    Object.keys(item.contributions).length ? whyBlock(item, range, titleId) : null);

  return {
    element,
    item,
    /** Show what became of the item, "opened" or "bought", and whether that is stored. */
    mark(what, how) {
      buy.replaceChildren(t(what === "bought" ? "buy.done" : "buy"));
      buy.setAttribute("aria-disabled", String(what === "bought"));
      const unstored = how === "waiting" || how === "refused";
      state.replaceChildren(t(`state.${what}`), unstored ? ` · ${t(`state.${how}`)}` : "");
    },
    /** Show where the item stood on the other shelf: a position, null where it was not there. */
    compare(other) {
      if (other === undefined) return moved.replaceChildren();
      const up = other - item.position;
      if (other === null) moved.replaceChildren(t("moved.new"));
      else if (up === 0) moved.replaceChildren(t("moved.same"));
      else moved.replaceChildren(t(up > 0 ? "moved.up" : "moved.down", { n: Math.abs(up) }));
    },
  };
}
