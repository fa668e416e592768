/**
 * Feedback on its way: each event gets its id here, once, and is sent until it is acknowledged.
 * What waits outlives a reload of the tab. The service counts an id once however often it comes.
 */

import { feedback } from "./api.js";

const WAITING = "shelftalk.outbox";
const MOST = 50;
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 20_000;

/** A random id; crypto.randomUUID is missing where the page does not come over HTTPS. */
const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

export class Outbox {
  /** @param told called as (event, "saved" | "waiting" | "refused", trouble) */
  constructor(told) {
    this.told = told;
    this.waiting = JSON.parse(sessionStorage.getItem(WAITING) ?? "[]");
    this.pause = FIRST_PAUSE;
    this.sending = false;
    addEventListener("online", () => this.send());
  }

  add(slate_id, item_id, type) {
    this.waiting.push({ event_id: newId(), slate_id, item_id, type, at: new Date().toISOString() });
    this.keep();
    // Events of one gesture, such as a purchase and the click it implies, go together.
    queueMicrotask(() => this.send());
  }

  keep() {
    sessionStorage.setItem(WAITING, JSON.stringify(this.waiting));
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    clearTimeout(this.timer);
    while (this.waiting.length) {
      // After a refusal they go one by one: one bad event must not hold up the others.
      const events = this.waiting.slice(0, this.oneByOne ? 1 : MOST);
      try {
        await feedback(events);
        this.done(events, "saved");
      } catch (trouble) {
        if (trouble.passing || trouble.kind === "key") {
          this.wait(events, trouble);
          break;
        }
        if (events.length > 1) this.oneByOne = true;
        else this.done(events, "refused", trouble);
      }
    }
    this.sending = false;
  }

  wait(events, trouble) {
    for (const event of events) this.told(event, "waiting", trouble);
    if (trouble.kind === "key") return; // until there is another key
    this.timer = setTimeout(() => this.send(), Math.max(this.pause, 1000 * trouble.wait));
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
  }

  done(events, how, trouble) {
    const ids = new Set(events.map((event) => event.event_id));
    this.waiting = this.waiting.filter((event) => !ids.has(event.event_id));
    this.keep();
    this.pause = FIRST_PAUSE;
    if (!this.waiting.length) this.oneByOne = false;
    for (const event of events) this.told(event, how, trouble);
  }

  /** Try at once, as when a key was entered or the service is back. */
  hurry() {
    this.pause = FIRST_PAUSE;
    this.send();
  }
}
