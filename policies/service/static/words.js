/** The page's own words, in English or Chinese, from strings.json. */

import { flat, outside } from "./dom.js";

let strings = { en: {}, zh: {} };
let language = "en";

export async function loadWords() {
  const answer = await fetch(new URL("./strings.json", import.meta.url));
  if (!answer.ok) throw new Error(`strings.json: ${answer.status}`);
  strings = await answer.json();
}

export const isLanguage = (name) => name === "en" || name === "zh";
export const languageNow = () => language;

export function setLanguage(name) {
  language = name;
  document.documentElement.lang = name === "zh" ? "zh-Hans" : "en";
}

function template(key, values) {
  const one = values.n === 1 ? strings[language][`${key}.one`] : undefined;
  return one ?? strings[language][key] ?? strings.en[key] ?? key;
}

/** The parts of a text and the values between them. */
const parts = (key, values) =>
  template(key, values).split(/\{(\w+)\}/).map((part, at) => (at % 2 ? values[part] : part));

/** A text as a string, for attributes and options. */
export const t = (key, values = {}) => parts(key, values).join("");

/** A text as nodes: values that are strings come from outside and are isolated. */
export function say(key, values = {}) {
  const found = document.createDocumentFragment();
  parts(key, values).forEach((part, at) => {
    found.append(at % 2 && typeof part === "string" ? outside(part) : part);
  });
  return found;
}

/** Whether there is a text of this name. */
export const has = (key) => key in strings.en;

/** Put the words of the present language where `data-t` and `data-t-label` ask for them. */
export function translate(root = document) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(node.dataset.tLabel));
  }
}

/** A note of the service in the present language, where we know it; else as it came. */
export function note(text) {
  for (const [pattern, known] of Object.entries(strings[language].notes ?? {})) {
    const met = new RegExp(pattern, "su").exec(text);
    if (met) {
      return known.split(/(\$1)/).map((part) => (part === "$1" ? outside(met[1]) : part));
    }
  }
  return [outside(text, { lang: "en" })];
}

export function money(amount, currency) {
  try {
    const style = { style: "currency", currency, currencyDisplay: "narrowSymbol" };
    return new Intl.NumberFormat(language, style).format(amount);
  } catch {
    return `${amount.toFixed(2)} ${flat(currency)}`; // none that browsers know
  }
}

export const list = (texts) => texts.join(language === "zh" ? "、" : ", ");

/** A number with its sign, which is a true minus; none for what rounds to nothing. */
export const signed = (value) =>
  `${Math.abs(value) < 0.005 ? "" : value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
