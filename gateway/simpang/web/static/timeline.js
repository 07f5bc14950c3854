/** What was recorded, as a bar: click, tap or arrow keys play from there; gaps say why. */
import { h, say } from "./dom.js";
import { get } from "./api.js";
import { duration, wire } from "./zone.js";

const MINUTE = 60000;
const VIEWS = [
  ["10 min", 10 * MINUTE],
  ["1 h", 60 * MINUTE],
  ["6 h", 360 * MINUTE],
  ["Day", 0],
];
const TICKS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, 60 * MINUTE, 120 * MINUTE, 180 * MINUTE, 360 * MINUTE];
// A little future on the right, so that the newest second can be hit.
const AHEAD = 0.03;

export const GAPS = {
  unreachable: "the camera did not answer",
  auth: "the camera refused the password",
  "camera-reboot": "the camera restarted",
  timeout: "the camera fell silent",
  restart: "the gateway restarted",
  "disk-full": "the disk was full",
  "disk-error": "the disk failed",
  disabled: "switched off",
  evicted: "deleted to make room",
  power: "the power was out",
  "clock-step": "the clock was set",
  deleted: "deleted",
};
const HARMLESS = new Set(["disabled", "evicted", "deleted", "clock-step"]);

const UNSURE = "the time is not sure: nobody vouched for the gateway's clock";

export class Timeline {
  /** path: of the stream. aside: its Marks. play(ms) is called for a moment, chosen(range) while one is drawn. */
  constructor(zone, path, name, aside, { play, chosen }) {
    Object.assign(this, { zone, path, aside, play, chosen, spans: [], gaps: [], head: null, choice: null });
    this.choosing = false;
    this.view = null;
    this.build(name);
  }

  build(name) {
    const move = (step) => h("button", {
      onclick: () => this.shift(step), title: step < 0 ? "Earlier" : "Later", "aria-label": step < 0 ? "Earlier" : "Later",
    }, step < 0 ? "‹" : "›");
    this.title = h("span", { class: "title" });
    this.buttons = VIEWS.map(([label], index) => h("button", { onclick: () => this.zoom(index) }, label));
    this.now = h("button", { onclick: () => this.follow() }, "Now");
    this.marks = h("div");
    this.track = h("div", {
      class: "track", role: "slider", tabindex: "0", "aria-label": `Timeline of ${name}`,
      "aria-description": "Arrow keys move, Enter plays",
    }, this.marks);
    this.ticks = h("div", { class: "ticks", "aria-hidden": "true" });
    this.readout = h("p", { class: "readout", "aria-live": "polite" });
    this.element = h("div", { class: "timeline" },
      h("div", { class: "bar" }, this.title,
        h("span", { class: "segmented", role: "group", "aria-label": "How much to show" }, ...this.buttons),
        h("span", { class: "segmented" }, move(-1), this.now, move(1))),
      this.track, this.ticks, this.readout);
    this.listen();
  }

  listen() {
    const { track } = this;
    track.addEventListener("pointermove", (event) => {
      const ms = this.moment(event);
      this.hover = event.pointerType === "mouse" ? ms : null;
      this.explain(ms);
      if (this.drag != null) this.choose(this.drag, ms);
      else this.draw();
    });
    track.addEventListener("pointerleave", () => {
      this.hover = null;
      if (this.drag == null) this.explain(null);
      this.draw();
    });
    track.addEventListener("pointerdown", (event) => {
      if (!this.choosing || event.button) return;
      track.setPointerCapture(event.pointerId);
      this.drag = this.moment(event);
    });
    track.addEventListener("pointerup", () => { this.drag = null; });
    track.addEventListener("pointercancel", () => { this.drag = null; });
    track.addEventListener("click", (event) => { if (!this.choosing) this.go(this.moment(event)); });
    track.addEventListener("keydown", (event) => this.key(event));
  }

  /** The narrowest view that holds everything recorded today; the day itself once there is much. */
  async begin() {
    const midnight = this.zone.midnight(Date.now());
    await this.load(midnight, Date.now());
    const first = this.spans[0]?.start ?? Date.now();
    const recorded = (Date.now() - first) / (1 - AHEAD);
    const index = VIEWS.findIndex(([, length]) => !length || recorded < length);
    this.following = true;
    this.index = index;
    this.zoom(index);
  }

  zoom(index) {
    const centre = this.following || !this.view ? Date.now() : this.head ?? (this.view.from + this.view.to) / 2;
    this.index = index;
    const length = VIEWS[index][1];
    if (!length) this.setDay(centre);
    else if (this.following) this.setView(Date.now() - length * (1 - AHEAD), length);
    else this.setView(centre - length / 2, length);
    this.buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
  }

  setDay(ms) {
    const from = this.zone.midnight(ms);
    // Days with a change of the clocks are longer or shorter.
    this.setView(from, this.zone.midnight(from + 30 * 60 * MINUTE) - from);
  }

  setView(from, length) {
    this.view = { from, to: from + length };
    this.refresh();
  }

  shift(step) {
    this.following = false;
    if (!VIEWS[this.index][1]) this.setDay(this.view.from + (step < 0 ? -6 : 30) * 60 * MINUTE);
    else this.setView(this.view.from + step * VIEWS[this.index][1] * 0.8, VIEWS[this.index][1]);
    if (this.view.from > Date.now()) this.follow();
  }

  follow() {
    this.following = true;
    this.zoom(this.index);
  }

  async refresh() {
    if (!this.view) return;
    this.draw();
    await this.load(this.view.from, Math.min(this.view.to, Date.now()));
  }

  /** Called every few seconds. */
  async tick() {
    if (!this.view || this.drag != null) return;
    if (this.following && VIEWS[this.index][1]) this.zoom(this.index);
    else if (this.view.to > Date.now() - 10 * MINUTE) await this.refresh();
  }

  async load(from, to) {
    if (to <= from) {
      this.spans = this.gaps = [];
      this.draw();
      return;
    }
    const asked = {};
    this.asked = asked;
    try {
      const query = `start=${encodeURIComponent(wire(from))}&end=${encodeURIComponent(wire(to))}`;
      const [found] = await Promise.all([get(`${this.path}/coverage?${query}`), this.aside.load(from, to)]);
      if (this.asked !== asked) return;
      const times = (item) => ({ ...item, start: Date.parse(item.start), end: Date.parse(item.end) });
      this.spans = found.spans.map(times);
      this.gaps = found.gaps.map(times);
      this.draw();
    } catch (problem) {
      if (this.asked === asked) say(this.readout, problem.message);
    }
  }

  moment(event) {
    const box = this.track.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return this.view.from + share * (this.view.to - this.view.from);
  }

  /** Plays from a moment; one that was not recorded means the next that was. */
  go(ms) {
    const inside = this.spans.some((span) => span.start <= ms && ms < span.end);
    // A single thin stripe is hard to hit: within four pixels counts.
    const near = this.pixel() * 4;
    const next = this.spans.find((span) => span.end > ms + 1000);
    const last = this.spans.at(-1);
    if (inside) this.play(ms);
    else if (next) this.play(next.start);
    else if (last && ms - last.end < Math.max(near, 5000)) this.play(Math.max(last.start, last.end - 5000));
    else this.explain(ms);
  }

  choose(one, other) {
    const [start, end] = one < other ? [one, other] : [other, one];
    this.choice = { start, end };
    this.draw();
    this.chosen(this.choice);
  }

  setChoice(choice) {
    this.choice = choice;
    this.choosing = Boolean(choice);
    this.draw();
  }

  setHolds(holds) {
    this.aside.setHolds(holds);
    this.draw();
  }

  setHead(ms) {
    const inView = (at) => at >= this.view.from && at <= this.view.to;
    // Follows what plays over the edge; whoever has moved the view away is left alone.
    const followed = this.view && (this.head === null || inView(this.head));
    this.head = ms;
    if (ms !== null && followed && !inView(ms)) {
      const length = VIEWS[this.index][1];
      if (length) this.setView(ms - length / 2, length);
      else this.setDay(ms);
    }
    this.draw();
  }

  key(event) {
    const length = this.view.to - this.view.from;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    const at = this.cursor ?? this.head ?? Math.min(Date.now(), this.view.to);
    if (event.key in steps) this.cursor = at + (steps[event.key] * length) / 200;
    else if (event.key === "Home") this.cursor = this.spans[0]?.start ?? this.view.from;
    else if (event.key === "End") this.cursor = this.spans.at(-1)?.end ?? this.view.to;
    else if (event.key === "Enter" || event.key === " ") this.go(at);
    else return;
    event.preventDefault();
    this.cursor = Math.min(Math.max(this.cursor ?? at, this.view.from), Math.min(this.view.to, Date.now()));
    this.hover = event.key === "Enter" || event.key === " " ? null : this.cursor;
    if (this.hover === null) this.cursor = null;
    else this.explain(this.cursor);
    this.draw();
  }

  words(ms) {
    const gap = this.gaps.find((one) => one.start <= ms && ms < one.end);
    const span = this.spans.find((one) => one.start <= ms && ms < one.end);
    // An event is a moment: within four pixels of it counts.
    const aside = this.aside.words(ms, this.pixel() * 4);
    if (span) return `${this.zone.time(ms)} recorded${span.trusted ? "" : `, ${UNSURE}`}${aside}`;
    if (!gap) return ms > Date.now() ? `${this.zone.time(ms)} is still to come` : `${this.zone.time(ms)} not recorded${aside}`;
    const [from, to] = [this.zone.time(gap.start), this.zone.time(gap.end)];
    return `${from} to ${to} not recorded (${duration(gap.end - gap.start)}): ${GAPS[gap.reason] ?? gap.reason}${aside}`;
  }

  /** How many ms one is wide. */
  pixel() { return (this.view.to - this.view.from) / Math.max(this.track.clientWidth, 1); }

  explain(ms) {
    if (ms !== null) {
      say(this.readout, this.words(ms));
      return;
    }
    const total = this.spans.reduce((sum, span) => sum + span.end - span.start, 0);
    const unsure = this.spans.some((span) => !span.trusted) ? ` Where it is striped ${UNSURE}.` : "";
    const aside = this.view ? this.aside.summary(this.view.from, this.view.to) : "";
    say(this.readout, (total ? `${duration(total)} recorded. Click to play from there.` : "Nothing recorded here.") + unsure + aside);
  }

  draw() {
    const { from, to } = this.view ?? { from: 0, to: 1 };
    const at = (ms) => ((ms - from) / (to - from)) * 100;
    const piece = (kind, start, end) => {
      const [left, right] = [Math.max(at(start), 0), Math.min(at(end), 100)];
      if (right < 0 || left > 100) return null;
      const element = h("i", { class: kind });
      element.style.left = `${left}%`;
      if (end > start) element.style.width = `${Math.max(right - left, 0)}%`;
      return element;
    };
    const point = (kind, ms) => (ms == null || ms < from || ms > to ? null : piece(kind, ms, ms));
    const pixel = this.view ? this.pixel() : 1;
    this.marks.replaceChildren(...[
      ...merged(this.gaps.filter((gap) => gap.reason !== "disabled"), pixel).map((gap) => piece(HARMLESS.has(gap.reason) ? "gap" : "gap fault", gap.start, gap.end)),
      ...merged(this.spans, pixel).map((span) => piece(span.trusted ? "span" : "span unsure", span.start, span.end)),
      ...this.aside.pieces(piece, pixel),
      to > Date.now() ? piece("ahead", Math.max(Date.now(), from), to) : null,
      this.choice ? piece("choice", this.choice.start, this.choice.end) : null,
      point("hover", this.hover),
      point("head", this.head),
    ].filter(Boolean));
    this.label();
  }

  label() {
    if (!this.view) return;
    const { from, to } = this.view;
    const today = this.zone.midnight(Date.now()) === this.zone.midnight(from);
    const hours = VIEWS[this.index]?.[1] ? `, ${this.zone.minute(from)}–${this.zone.minute(to)}` : "";
    say(this.title, (today ? "Today" : this.zone.day(from)) + hours);
    this.now.disabled = Boolean(this.following);
    const at = this.hover ?? this.head ?? Math.min(Date.now(), to);
    this.track.setAttribute("aria-valuemin", Math.round(from / 1000));
    this.track.setAttribute("aria-valuemax", Math.round(to / 1000));
    this.track.setAttribute("aria-valuenow", Math.round(Math.min(Math.max(at, from), to) / 1000));
    this.track.setAttribute("aria-valuetext", this.words(at));
    if (this.hover == null && this.drag == null && document.activeElement !== this.track) this.explain(null);
    this.drawTicks(from, to);
  }

  drawTicks(from, to) {
    const room = Math.max(this.track.clientWidth / 64, 2);
    const step = TICKS.find((length) => (to - from) / length <= room) ?? TICKS.at(-1);
    const offset = this.zone.offset(from);
    const ticks = [];
    for (let ms = Math.ceil((from + offset) / step) * step - offset; ms <= to; ms += step) {
      const share = ((ms - from) / (to - from)) * 100;
      // A day that is shown whole ends at 24:00, not at 00:00.
      const midnight = ms === to && ms === this.zone.midnight(ms);
      const tick = h("span", { class: share > 96 ? "last" : null }, midnight ? "24:00" : this.zone.minute(ms));
      tick.style.left = `${share}%`;
      if (share > 3 || share === 0) ticks.push(tick);
    }
    this.ticks.replaceChildren(...ticks);
  }
}

/** Neighbours closer than a pixel as one: a day of short pieces draws as fast as one long one. */
function merged(pieces, pixel) {
  const out = [];
  for (const piece of pieces) {
    const last = out.at(-1);
    if (last && last.reason === piece.reason && last.trusted === piece.trusted && piece.start - last.end < pixel) last.end = piece.end;
    else out.push({ ...piece });
  }
  return out;
}
