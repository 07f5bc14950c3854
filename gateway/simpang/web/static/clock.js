/** The gateway's clock: what it says, who vouches for it, and an installer's word on it. */
import { ask } from "./api.js";
import { h, refill, say } from "./dom.js";
import { duration } from "./zone.js";

const SOURCES = { ntp: "kept by a time server", installer: "confirmed by an installer" };
// Nearer than this a question and its answer may be apart by themselves.
const NEAR_MS = 2000;

export class ClockLine {
  /** mayChange: whether this role may confirm it. changed(): once somebody has. */
  constructor(zone, mayChange, changed) {
    Object.assign(this, { zone, mayChange, changed, ahead: 0 });
    this.time = h("strong");
    this.beside = h("p", { class: "small" });
    this.answer = h("p", { class: "small", role: "status" });
    this.element = h("div", { class: "item", id: "clock-line" });
    setInterval(() => this.tick(), 1000);
  }

  /** clock: of GET /site. item: the health item about it, if there is one. */
  show(clock, item) {
    this.ahead = Date.parse(clock.now) - Date.now();
    const doubtful = !clock.trusted || clock.leapt_s !== null;
    this.element.dataset.severity = doubtful ? "warning" : "ok";
    const who = SOURCES[clock.source] ?? "nobody vouches for it";
    const leapt = clock.leapt_s === null ? null : `It leapt by ${duration(Math.abs(clock.leapt_s) * 1000)}.`;
    refill(this.element, [doubtful, who, leapt, item?.remedy.en, clock.ages_believed], () => [
      h("p", {}, "The gateway's clock says ", this.time, doubtful && clock.trusted ? "." : `; ${who}.`,
        leapt && ` ${leapt}`,
        clock.ages_believed || doubtful ? null : " Nothing is deleted by age until all footage is dated by it."),
      ...(doubtful ? this.question(item) : []),
    ]);
    this.tick();
  }

  question(item) {
    if (!this.mayChange) return [item ? h("p", { class: "remedy" }, item.remedy.en) : ""];
    this.anyway = h("button", { hidden: true, onclick: () => this.trust(true) }, "It is right: the footage was dated wrongly");
    return [
      this.beside,
      h("p", {}, "Compare it with a watch. Is it right to the second, and the date?"),
      h("div", { class: "row" },
        h("button", { class: "primary", onclick: () => this.trust(false) }, "Yes, trust the clock"), this.anyway),
      this.answer,
      h("p", { class: "remedy" }, "If it is wrong, give the gateway a time server and a network to reach it, or set the clock by ",
        h("code", {}, "simpang clock set TIME"), ". Recording goes on; until then no footage is deleted for its age."),
    ];
  }

  tick() {
    const now = Date.now() + this.ahead;
    say(this.time, `${this.zone.day(now)} ${new Date(now).getUTCFullYear()}, ${this.zone.time(now)}`);
    const apart = Math.abs(this.ahead);
    say(this.beside, apart < NEAR_MS ? "The device you hold says the same."
      : `The device you hold says ${this.zone.day(Date.now())}, ${this.zone.time(Date.now())}: ${duration(apart)} ${this.ahead < 0 ? "later" : "earlier"}.`);
  }

  async trust(although) {
    say(this.answer, "");
    try {
      await ask("/api/v1/site/clock", { method: "POST", body: { trust: true, although_earlier: although } });
      await this.changed();
    } catch (problem) {
      // What it says after that is for the command line; here it is a second button.
      say(this.answer, problem.code === "conflict" ? `${problem.message.split("; if")[0]}.` : problem.message);
      this.anyway.hidden = problem.code !== "conflict";
    }
  }
}
