/** Elements made from data. Text only ever becomes text: nothing here parses markup. */

/** The catalogue's language, for text that the page did not write. */
let locale = "en";
export const setLocale = (name) => { locale = name === "zh" ? "zh-Hans" : name; };

/** Make an element; `on` takes listeners by event, everything else is an attribute. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    } else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== ""));
  return node;
}

/** Text from outside: isolated, so that marks of direction in it turn nothing around it. */
export const outside = (text, attributes = {}) =>
  el("bdi", { dir: "auto", lang: locale, ...attributes }, String(text));

/** Text from outside where no element can stand, such as in an option: without such marks. */
export const flat = (text) => String(text).replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");

let made = 0;
/** An id that no other element has. */
export const freshId = (stem) => `${stem}-${++made}`;

export const $ = (id) => document.getElementById(id);
