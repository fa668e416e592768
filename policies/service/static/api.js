/** Requests to the service, and what can go wrong with them. */

const KEY = "shelftalk.key";
const PATIENCE = 15_000;

/** What went wrong: a `kind` that the page has words for, and what the service said. */
export class Trouble extends Error {
  constructor(kind, { message = "", wait = 0 } = {}) {
    super(message);
    this.kind = kind;
    /** Seconds after which trying again makes sense. */
    this.wait = wait;
  }
  /** Whether the same request may succeed later. */
  get passing() {
    return ["gone", "slow", "busy", "rate"].includes(this.kind);
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? "";
export function setKey(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

const KINDS = { 401: "key", 403: "key", 408: "slow", 413: "large", 429: "rate", 503: "busy" };

async function failure(answer) {
  let message = "";
  try {
    const { error } = await answer.json();
    message = error.where ? `${error.message} (${error.where})` : error.message;
  } catch { /* not from the service itself: the status has to do */ }
  const kind = KINDS[answer.status] ?? (answer.status < 500 ? "input" : "busy");
  const wait = Number(answer.headers.get("Retry-After")) || 0;
  return new Trouble(kind, { message: message || `HTTP ${answer.status}`, wait });
}

/** Ask the service; `signal` gives up. Raises `Trouble`, or AbortError where given up. */
async function ask(path, { body, signal, keepalive } = {}) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), PATIENCE);
  signal?.addEventListener("abort", () => late.abort());
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  // A header holds no other characters; whatever has them is no key.
  if (key()) headers["X-API-Key"] = key().replace(/[^\x21-\x7e]/g, "?");
  try {
    const answer = await fetch(new URL(path, document.baseURI), {
      method: body ? "POST" : "GET", headers, keepalive, signal: late.signal,
      body: body && JSON.stringify(body), cache: "no-store", credentials: "omit",
    });
    if (!answer.ok) throw await failure(answer);
    return await answer.json();
  } catch (error) {
    if (error instanceof Trouble || signal?.aborted) throw error;
    throw new Trouble(late.signal.aborted ? "slow" : "gone");
  } finally {
    clearTimeout(timer);
  }
}

export const shop = () => ask("v1/shop");
export const shelf = (body, signal) => ask("v1/shelf", { body, signal });
/** Outlives the page, so that the last click before leaving still arrives. */
export const feedback = (events) => ask("v1/feedback", { body: { events }, keepalive: true });
/** Whether the service answers again. */
export const healthy = () => ask("healthz").then(() => true, () => false);
