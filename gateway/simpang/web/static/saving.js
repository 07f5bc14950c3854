/** Choosing a range of a camera's footage, to download it or to send it to a central. */
import { ask, streamPath } from "./api.js";
import { h, say } from "./dom.js";
import { duration, size, wire } from "./zone.js";

// More files than this are no longer what a person meant by "a clip".
const MOST_PARTS = 20;
const FIRST_MS = 60000;

export class Saving {
  /** timeline: the card's; centrals: ids; sent(job) once a job is made. */
  constructor(zone, camera, stream, timeline, centrals, sent) {
    Object.assign(this, { zone, camera, stream, timeline, sent });
    this.path = streamPath(camera.id, stream);
    const field = (label) => {
      const input = h("input", { type: "datetime-local", step: "1", oninput: () => this.typed() });
      return [input, h("label", {}, label, input)];
    };
    const [from, fromLabel] = field("From");
    const [to, toLabel] = field("To");
    Object.assign(this, { from, to });
    this.words = h("p", { class: "readout", role: "status" });
    this.files = h("ul", { class: "found", hidden: true });
    this.download = h("button", { class: "primary", onclick: () => this.save() }, "Download MP4");
    this.central = h("select", { "aria-label": "Central" }, ...centrals.map((id) => h("option", { value: id }, id)));
    this.sender = h("button", { onclick: () => this.send() }, centrals.length > 1 ? "Send to" : `Send to ${centrals[0]}`);
    this.element = h("div", { class: "saving", role: "group", "aria-label": `Save a clip of ${camera.name}` },
      h("div", { class: "fields" }, fromLabel, toLabel),
      this.words,
      h("div", { class: "row" }, this.download,
        ...(centrals.length ? [this.sender, centrals.length > 1 ? this.central : null] : [])),
      this.files);
  }

  /** around: ms UTC, the end of the first choice. */
  open(around) {
    const end = Math.floor(around / 1000) * 1000;
    this.set({ start: end - FIRST_MS, end });
    this.timeline.setChoice(this.choice);
    this.from.focus();
  }

  set(choice) {
    this.choice = { start: Math.floor(choice.start / 1000) * 1000, end: Math.ceil(choice.end / 1000) * 1000 };
    this.from.value = this.zone.local(this.choice.start);
    this.to.value = this.zone.local(this.choice.end);
    this.describe();
  }

  typed() {
    this.choice = { start: this.zone.moment(this.from.value), end: this.zone.moment(this.to.value) };
    this.describe();
    if (this.good()) this.timeline.setChoice(this.choice);
  }

  good() { return this.choice.end > this.choice.start; }

  describe() {
    this.files.hidden = true;
    this.download.disabled = this.sender.disabled = !this.good();
    if (!this.good()) {
      say(this.words, "The end must be later than the start.");
      return;
    }
    const length = this.choice.end - this.choice.start;
    const bps = this.camera.streams.find((stream) => stream.name === this.stream)?.bps;
    const about = bps ? `, about ${size((bps / 8) * (length / 1000))}` : "";
    say(this.words, `${duration(length)}${about}. Drag on the timeline to choose, or type.`);
  }

  /** Downloads the clip; where it has several parts, offers each: one file cannot hold two sets of codec parameters. */
  async save() {
    say(this.words, "Looking for the footage…");
    try {
      const parts = await this.parts();
      this.files.replaceChildren(...parts.map((part, index) => h("li", {},
        h("a", { href: part.url, download: part.name }, `Part ${index + 1}: ${this.zone.time(part.start)} to ${this.zone.time(part.end)}`))));
      this.files.hidden = parts.length === 1;
      if (parts.length === 1) this.files.querySelector("a").click();
      const words = parts.length === 1
        ? `Saving ${this.zone.time(parts[0].start)} to ${this.zone.time(parts[0].end)} as ${parts[0].name}.`
        : `There are gaps in it, so it comes as ${parts.length} files:`;
      say(this.words, words);
    } catch (problem) {
      say(this.words, problem.status === 404 ? "Nothing was recorded in that time." : problem.message);
    }
  }

  async parts() {
    const parts = [];
    let start = wire(this.choice.start);
    while (start && parts.length < MOST_PARTS) {
      const url = `${this.path}/clip.mp4?start=${encodeURIComponent(start)}&end=${encodeURIComponent(wire(this.choice.end))}&exact=1&audio=aac`;
      const { headers } = await ask(url, { method: "HEAD" });
      const name = /filename="([^"]+)"/.exec(headers.get("Content-Disposition") ?? "")?.[1] ?? "clip.mp4";
      parts.push({
        url, name, start: Date.parse(headers.get("Simpang-Start")), end: Date.parse(headers.get("Simpang-End")),
      });
      start = headers.get("Simpang-Next");
    }
    return parts;
  }

  async send() {
    this.sender.disabled = true;
    try {
      const response = await ask("/api/v1/jobs", {
        method: "POST",
        headers: { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) },
        body: {
          camera: this.camera.id, stream: this.stream, central: this.central.value,
          start: wire(this.choice.start), end: wire(this.choice.end),
        },
      });
      say(this.words, `Sending to ${this.central.value}; the progress is below, under Sending.`);
      this.sent(await response.json());
    } catch (problem) {
      say(this.words, problem.message);
    } finally {
      this.sender.disabled = false;
    }
  }
}
