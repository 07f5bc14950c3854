/** Holding a range of a camera's footage, all its streams: the range that the timeline shows, until another is chosen. */
import { ask } from "./api.js";
import { field, h, say, signed, whoField } from "./dom.js";
import { duration, wire } from "./zone.js";

export class Holding {
  /** timeline: the card's. held(): once something is. */
  constructor(zone, camera, timeline, held) {
    Object.assign(this, { zone, camera, timeline, held });
    const typed = { type: "datetime-local", step: "1", required: true, oninput: () => this.typed() };
    const [from, fromLabel] = field("From", typed);
    const [to, toLabel] = field("To", typed);
    const [reason, reasonLabel] = field("Reason", { required: true, maxlength: 500, placeholder: "Collision, white van" });
    const [case_, caseLabel] = field("Case (if there is a number)", { maxlength: 64 });
    const [who, whoLabel] = whoField("Your name");
    Object.assign(this, { from, to, reason, case: case_, who });
    this.words = h("p", { class: "readout", role: "status" });
    this.element = h("form", {
      class: "saving form", "aria-label": `Hold footage of ${camera.name}`, hidden: true, onsubmit: (event) => this.hold(event),
    },
    h("div", { class: "fields" }, fromLabel, toLabel, reasonLabel, caseLabel, whoLabel), this.words,
    h("div", { class: "row" }, h("button", { class: "primary" }, "Hold it")));
  }

  open() {
    const { from, to } = this.timeline.view;
    this.set({ start: from, end: Math.min(to, Date.now()) });
    this.timeline.setChoice(this.choice);
    this.reason.focus();
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
    this.from.setCustomValidity(this.good() ? "" : "The end must be later than the start.");
    say(this.words, this.good()
      ? `${duration(this.choice.end - this.choice.start)}, all streams of this camera. It stays until somebody releases it.`
      : "The end must be later than the start.");
  }

  async hold(event) {
    event.preventDefault();
    signed(this.who);
    try {
      await ask("/api/v1/holds", {
        method: "POST",
        body: {
          camera: this.camera.id, start: wire(this.choice.start), end: wire(this.choice.end),
          reason: this.reason.value, case: this.case.value, who: this.who.value,
        },
      });
      this.reason.value = "";
      say(this.words, "Held. It is listed below, under Storage, and can be released there.");
      await this.held();
    } catch (problem) {
      say(this.words, problem.message);
    }
  }
}
