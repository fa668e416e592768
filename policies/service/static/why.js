/** What put an item there: contributions to its score as signed bars, beside its similarities. */

import { el, outside } from "./dom.js";
import { has, signed, t } from "./words.js";

/** The range of contributions on a shelf, which all its charts share. */
export function rangeOf(items) {
  const all = items.flatMap((item) => Object.values(item.contributions));
  return { low: Math.min(0, ...all), high: Math.max(0, ...all) };
}

const named = (group) => (has(`why.${group}`) ? t(`why.${group}`) : outside(group));
const spoken = (group) => (has(`why.${group}`) ? t(`why.${group}`) : group);

/** The two groups that lift the item most, in words. */
function mainly(contributions) {
  const lifts = Object.entries(contributions).filter(([, value]) => value >= 0.005);
  lifts.sort((a, b) => b[1] - a[1]);
  if (!lifts.length) return t("why.nothing");
  return lifts.slice(0, 2).map(([group, value]) => `${spoken(group)}\u00a0${signed(value)}`).join(" · ");
}

function bar(value, { low, high }) {
  const span = high - low || 1;
  const zero = (-low / span) * 100;
  const fill = el("i", { class: value < 0 ? "less" : "more" });
  const axis = el("b");
  const cell = el("td", { class: "bar", "aria-hidden": "true" }, axis, fill);
  axis.style.left = `${zero}%`;
  fill.style.width = `${(Math.abs(value) / span) * 100}%`;
  fill.style.left = `${value < 0 ? zero - (Math.abs(value) / span) * 100 : zero}%`;
  return cell;
}

/** The whole block, closed at first. */
export function whyBlock(item, range, titleId) {
  const entries = Object.entries(item.contributions).sort((a, b) => b[1] - a[1]);
  const rows = entries.map(([group, value]) => {
    const similarity = item.similarity[group];
    return el("tr", {},
      el("th", { scope: "row" }, named(group), similarity === undefined ? null
        : el("small", {}, t("why.similarity", { value: similarity.toFixed(2) }))),
      bar(value, range),
      el("td", { class: "number" }, signed(value)));
  });
  const total = entries.reduce((sum, [, value]) => sum + value, 0);
  const head = (key) => el("th", { scope: "col" }, t(key));
  return el("details", { class: "why" },
    el("summary", {}, el("span", {}, t("why.open")), " ",
      el("span", { class: "mainly" }, mainly(item.contributions))),
    el("table", { "aria-describedby": titleId },
      el("caption", {}, t("why.caption")),
      el("thead", { class: "unseen" }, el("tr", {}, head("why.group"),
        el("td", { "aria-hidden": "true" }), head("why.added"))),
      el("tbody", {}, ...rows),
      el("tfoot", {}, el("tr", {}, el("th", { scope: "row", colspan: "2" }, t("why.total")),
        el("td", { class: "number" }, signed(total))))));
}
