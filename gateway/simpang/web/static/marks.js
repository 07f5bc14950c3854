/** What lies on a timeline beside the footage: events, and what is held. */
import { get } from "./api.js";
import { stretch, wire } from "./zone.js";

export const KINDS = {
  motion: "Motion", line: "Line crossed", area: "Area entered", tamper: "Camera tampered with",
  "video-loss": "Video lost", input: "Input switched", sound: "Sound", object: "Object found", other: "Marked",
};
// Four lists of the API: more marks than pixels help nobody.
const MOST = 2000;
// A timeline that only grows at its end is asked about events no oftener.
const LEAST_MS = 15000;

export class Marks {
  constructor(zone, camera, stream) {
    Object.assign(this, { zone, camera, stream, events: [], held: [], more: false, loaded: null });
  }

  /** Of all holds, what holds this stream. */
  setHolds(holds) {
    this.held = holds.filter((hold) => hold.camera === this.camera && (!hold.stream || hold.stream === this.stream));
  }

  async load(from, to) {
    const seen = this.loaded;
    if (seen && seen.from === from && Date.now() - seen.at < LEAST_MS) return;
    if (seen && to - from === seen.to - seen.from && Math.abs(from - seen.from) < LEAST_MS && Date.now() - seen.at < LEAST_MS) return;
    const loaded = { from, to, at: Date.now() };
    this.loaded = loaded;
    const events = [];
    let next = "";
    do {
      const query = new URLSearchParams({ camera: this.camera, start: wire(from), end: wire(to), ...(next && { after: next }) });
      const page = await get(`/api/v1/events?${query}`);
      events.push(...page.items);
      next = page.next;
    } while (next && events.length < MOST);
    if (this.loaded !== loaded) return;
    this.more = Boolean(next);
    this.events = events.map((event) => ({
      ...event, from: Date.parse(event.start), to: event.end ? Date.parse(event.end) : Date.now(),
    })).sort((one, other) => one.from - other.from);
  }

  /** piece(kind, start, end) makes one; pixel: ms that one is wide. Events closer than three pixels draw as one. */
  pieces(piece, pixel) {
    const out = this.held.map((hold) => piece("held", hold.from, hold.to));
    let last = null;
    for (const event of this.events) {
      if (last && event.from - last.to < 3 * pixel) {
        last.to = Math.max(last.to, event.to);
      } else {
        last = { from: event.from, to: event.to };
        out.push(last);
      }
    }
    return out.map((one) => (one?.from === undefined ? one : piece("event", one.from, one.to)));
  }

  /** What is there at a moment, within `near` ms. */
  words(ms, near) {
    const at = (one) => one.from - near <= ms && ms <= one.to + near;
    const events = this.events.filter(at).slice(0, 3).map((event) =>
      `${KINDS[event.kind] ?? event.kind}, ${this.zone.time(event.from)}${event.words ? `: ${event.words}` : ""}`);
    const held = this.held.filter((hold) => hold.from <= ms && ms < hold.to).slice(0, 1).map((hold) =>
      `Held by ${hold.who}: ${hold.reason}`);
    return [...events, ...held].map((one) => `. ${one}`).join("");
  }

  /** What is in view, for the line under the timeline. */
  summary(from, to) {
    const inView = (one) => one.to >= from && one.from <= to;
    const count = this.events.filter(inView).length;
    const [hold] = this.held.filter(inView);
    return [
      count ? `${this.more ? `More than ${count}` : count} ${count === 1 ? "event" : "events"}.` : null,
      hold ? `Held: ${stretch(this.zone, hold.from, hold.to)}.` : null,
    ].filter(Boolean).map((one) => ` ${one}`).join("");
  }
}
