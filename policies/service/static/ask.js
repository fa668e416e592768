/** What the shelf is for: the form, and the address that keeps it. */

import { $, el, flat, outside } from "./dom.js";
import { has, list, t } from "./words.js";

/** Milliseconds after which a choice that is walked through with the keyboard counts as made. */
const SETTLED = 350;
/** The value of "another shopper"; no id has such a character. */
const OTHER = "\u0001";

/** What is asked for now; a query that is being typed is not. */
export const wanted = { shopper: null, scene: "home", item: "", query: "" };

/** As the service takes it. */
export const request = () => ({
  shopper: wanted.shopper || undefined,
  item: wanted.scene === "similar" ? wanted.item : undefined,
  query: wanted.scene === "search" ? wanted.query : undefined,
});

const option = (value, text) => el("option", { value }, text);
const scenes = () => [...document.querySelectorAll("input[name=scene]")];

/** Fill the form with what there is to choose from, and what is chosen. */
export function fillAsk(shop, search) {
  const known = !wanted.shopper || shop.shoppers.some((one) => one.shopper === wanted.shopper);
  $("shopper").replaceChildren(option("", t("shopper.anyone")),
    ...shop.shoppers.map(({ shopper, likes }) => option(shopper, t("shopper.likes", {
      shopper: flat(shopper), likes: list(likes.slice(0, 3).map(flat)),
    }))),
    option(OTHER, t("shopper.other")));
  $("shopper").value = known ? wanted.shopper ?? "" : OTHER;
  $("other-field").hidden = known;
  if (!known) $("other").value = wanted.shopper;
  $("item").replaceChildren(...shop.items.map((one) => option(one.item_id, flat(one.title))));
  $("item").value = wanted.item;
  $("query").value = wanted.query;
  $("samples").replaceChildren(...shop.queries.slice(0, 6).map((query) => el("button", {
    type: "button", class: "chip", on: { click: () => { $("query").value = query; search(); } },
  }, outside(query))));
  for (const radio of scenes()) radio.checked = radio.value === wanted.scene;
  fields(wanted.scene);
}

/** Show the fields of a scene. */
function fields(scene) {
  $("item-field").hidden = scene !== "similar";
  $("query-field").hidden = $("samples").hidden = scene !== "search";
}

/**
 * Call `changed("new" | "on")` when something else is asked for: by a new visit, or in this one.
 * Returns what searches for the words in the field.
 */
export function listenToAsk(changed) {
  let settling;
  const settle = (move) => {
    clearTimeout(settling);
    settling = setTimeout(() => changed(move), SETTLED);
  };
  const search = () => {
    const query = $("query").value.trim();
    if (!query) return $("query").focus();
    Object.assign(wanted, { scene: "search", query });
    changed("on");
  };
  $("shopper").addEventListener("change", () => {
    const other = $("shopper").value === OTHER;
    $("other-field").hidden = !other;
    if (other) return $("other").focus();
    wanted.shopper = $("shopper").value;
    settle("new");
  });
  $("other").addEventListener("change", () => {
    wanted.shopper = $("other").value.trim();
    changed("new");
  });
  $("item").addEventListener("change", () => {
    wanted.item = $("item").value;
    settle("on");
  });
  for (const radio of scenes()) {
    radio.addEventListener("change", () => {
      fields(radio.value);
      // A search begins with its words.
      if (radio.value === "search") return;
      wanted.scene = radio.value;
      settle("on");
    });
  }
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    // Enter in the field of another shopper is for that field, whose change was heard.
    if (document.activeElement !== $("other")) search();
  });
  return search;
}

export const fragment = () => new URLSearchParams(location.hash.slice(1));

/** Keep what is wanted, and `more`, in the address's fragment, which no server gets to see. */
export function remember(more) {
  const { shopper, scene, item, query } = wanted;
  const kept = { shopper, scene, ...(scene === "similar" && { item }), ...(scene === "search" && { query }) };
  history.replaceState(null, "", `#${new URLSearchParams({ ...kept, ...more })}`);
}

/** Take what is wanted from the address. */
export function recall() {
  const kept = fragment();
  wanted.shopper = kept.get("shopper") ?? wanted.shopper;
  wanted.item = kept.get("item") || wanted.item;
  wanted.query = kept.get("query") || wanted.query;
  const scene = kept.get("scene");
  if (has(`scene.${scene}`) && (scene !== "search" || wanted.query)) wanted.scene = scene;
}
