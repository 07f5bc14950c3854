/** One camera: its picture, its state in words, its timeline, and saving from it. */
import { streamPath } from "./api.js";
import { h, say } from "./dom.js";
import { canPlay, LivePlayer } from "./live.js";
import { Holding } from "./holding.js";
import { Marks } from "./marks.js";
import { ClipPlayer } from "./playback.js";
import { showRemarks } from "./remarks.js";
import { Saving } from "./saving.js";
import { StillPlayer } from "./stills.js";
import { Timeline } from "./timeline.js";
import { duration } from "./zone.js";

const STATES = {
  recording: "Recording",
  connecting: "Connecting",
  auth: "Password refused",
  unreachable: "Not reachable",
  disabled: "Switched off",
};
const STILLS = "you see one picture every 2 s. Saved clips are whole and play elsewhere.";

export class Card {
  /** pictures: whether this role may see them. crowded: whether the small stream serves better. */
  constructor(zone, camera, { pictures, crowded, mayHold, centrals, sent, held }) {
    Object.assign(this, { zone, camera, pictures, crowded, mayHold, centrals, sent, held });
    this.mode = "off";
    this.inSight = true;
    this.build();
    this.update(camera);
  }

  build() {
    const { camera } = this;
    this.video = h("video", { playsinline: true, "aria-label": `Live picture of ${camera.name}` });
    this.video.muted = true;
    this.image = h("img", { alt: `Still picture of ${camera.name}`, hidden: true });
    this.badge = h("span", { class: "badge", hidden: true });
    this.wordsTitle = h("strong");
    this.wordsText = h("span");
    this.words = h("div", { class: "words" }, this.wordsTitle, this.wordsText);
    this.state = h("span", { class: "state" });
    this.name = h("h2");
    this.facts = h("p", { class: "facts" });
    this.note = h("p", { class: "note", hidden: true });
    this.trouble = h("p", { class: "trouble", hidden: true });
    this.toLive = h("button", { onclick: () => this.live(), hidden: true }, "Back to live");
    this.remarks = h("div", { class: "remarks", hidden: true });
    this.toSave = h("button", { onclick: () => this.toggle(this.saving), "aria-expanded": "false" }, "Save clip");
    this.toHold = h("button", { onclick: () => this.toggle(this.holding), "aria-expanded": "false" }, "Hold this");
    this.element = h("article", { class: "card", "data-camera": camera.id },
      this.pictures ? h("div", { class: "picture" }, this.video, this.image, this.words, this.badge) : null,
      h("div", { class: "about" },
        h("div", { class: "line" }, this.name, this.state),
        this.facts, this.note, this.trouble, this.remarks));
  }

  /** What the API says now. advice: the health item about this camera, if there is one. */
  update(camera, advice) {
    const returned = this.camera.state !== "recording" && camera.state === "recording";
    this.camera = camera;
    this.element.dataset.state = camera.state;
    say(this.name, camera.name);
    say(this.state, STATES[camera.state] ?? camera.state);
    const main = camera.streams[0];
    const facts = [
      [camera.device.make, camera.device.model].filter(Boolean).join(" ") || camera.address,
      codecName(main?.codec),
      main?.width ? `${main.width} × ${main.height}` : null,
      main?.bps ? `${(main.bps / 1e6).toFixed(1)} Mbit/s` : null,
      main?.audio && !main.audio.endsWith("not recorded") ? `Sound: ${main.audio}` : null,
    ].filter(Boolean);
    if (facts.join("") !== this.facts.textContent) this.facts.replaceChildren(...facts.map((fact) => h("span", {}, fact)));
    const words = advice ? [advice.cause.en, advice.remedy.en] : [camera.detail, camera.remedy];
    this.trouble.hidden = camera.state === "recording" || !words.some(Boolean);
    say(this.trouble, words.filter(Boolean).map(sentence).join(" "));
    this.trouble.title = camera.detail ?? "";
    showRemarks(this.remarks, camera);
    if (!this.timeline && main) this.addTimeline(main.name);
    if (this.mode === "off" || (returned && this.mode !== "clip")) this.live();
    else if (this.kind) this.tellLive(this.kind);
  }

  addTimeline(stream) {
    const path = streamPath(this.camera.id, stream);
    this.timeline = new Timeline(this.zone, path, this.camera.name, new Marks(this.zone, this.camera.id, stream), {
      play: (ms) => this.playFrom(ms),
      chosen: (choice) => this.choosing?.set(choice),
    });
    if (!this.pictures) this.timeline.go = (ms) => this.timeline.explain(ms);
    this.element.append(this.timeline.element);
    if (this.pictures) {
      this.timeline.element.append(h("div", { class: "row" }, this.toLive, this.toSave, this.mayHold ? this.toHold : null));
      this.saving = new Saving(this.zone, this.camera, stream, this.timeline, this.centrals, this.sent);
      this.saving.element.hidden = true;
      this.holding = new Holding(this.zone, this.camera, this.timeline, this.held);
      this.element.append(this.saving.element, this.holding.element);
    }
    this.timeline.begin();
  }

  /** The stream for moving pictures here: the first that plays, the small one first where there are many cards. */
  playable(small) {
    const streams = small ? [...this.camera.streams].reverse() : this.camera.streams;
    return streams.find((stream) => canPlay(stream.codec));
  }

  live() {
    if (!this.pictures) return;
    this.leave();
    this.timeline?.setHead(null);
    if (!this.camera.streams.length || !["recording", "connecting"].includes(this.camera.state)) {
      this.mode = "off";
      this.tellLive("connecting");
      return;
    }
    this.mode = "live";
    this.shown = true;
    const stream = this.playable(this.crowded);
    if (!stream && this.camera.streams.some((one) => one.codec)) {
      this.stills(null);
      return;
    }
    this.video.controls = false;
    this.video.muted = true;
    this.video.setAttribute("aria-label", `Live picture of ${this.camera.name}`);
    const path = streamPath(this.camera.id, (stream ?? this.camera.streams[0]).name);
    this.player = new LivePlayer(this.video, path, (kind) => this.tellLive(kind));
    this.shown = this.inSight && !document.hidden;
    if (this.shown) this.player.start();
  }

  playFrom(ms) {
    this.leave();
    this.mode = "clip";
    this.toLive.hidden = false;
    this.timeline.following = false;
    this.timeline.setHead(ms);
    const stream = this.playable(false);
    if (!stream) {
      this.stills(ms);
      return;
    }
    this.video.controls = true;
    this.video.setAttribute("aria-label", `Recorded picture of ${this.camera.name}`);
    this.say("Loading", this.zone.time(ms));
    const path = streamPath(this.camera.id, stream.name);
    this.player = new ClipPlayer(this.video, path, (kind, value) => this.tellClip(kind, value));
    this.player.play(ms);
  }

  stills(ms) {
    this.video.hidden = true;
    this.image.hidden = this.note.hidden = false;
    const codec = codecName(this.camera.streams.find((one) => one.codec)?.codec) ?? "this video";
    say(this.note, `This browser cannot play ${codec}: ${STILLS}`);
    this.say("Fetching a picture", "");
    this.player = new StillPlayer(this.image, this.camera.id, (kind, value) => this.tellStill(kind, value, ms !== null));
    this.player.start(ms);
  }

  leave() {
    this.player?.stop();
    this.player = this.kind = null;
    this.video.hidden = false;
    this.image.hidden = true;
    this.badge.hidden = this.note.hidden = true;
    this.toLive.hidden = true;
  }

  tellLive(kind) {
    this.kind = kind;
    const dead = this.camera.state !== "recording";
    if (kind === "live" && !dead) {
      this.show("live", "Live");
    } else if (kind === "unsupported") {
      this.stills(null);
    } else if (dead) {
      this.badge.hidden = true;
      const { state } = this.camera;
      const since = state === "connecting" ? "" : `Since ${this.zone.time(Date.parse(this.camera.since))}. `;
      const then = { auth: "See below what to do.", disabled: "" }[state] ?? "The picture comes back by itself.";
      this.say(STATES[state] ?? state, since + then);
    } else if (kind === "silent") {
      this.say("No picture", "The camera sends nothing at the moment.");
    } else {
      this.say("Connecting", "");
    }
  }

  tellClip(kind, value) {
    if (kind === "time") {
      this.show("clip", this.zone.time(value));
      this.timeline.setHead(value);
    } else if (kind === "gap") {
      say(this.timeline.readout, `Jumped over ${duration(value[1] - value[0])} without footage.`);
    } else if (kind === "end") {
      this.live();
    } else if (kind === "nothing") {
      this.say("Nothing recorded there", "Choose another moment on the timeline.");
    } else {
      this.say("This does not play", value || "Save it as a clip and open it in another player.");
    }
  }

  tellStill(kind, value, recorded) {
    if (kind === "still") {
      this.show("stills", `${this.zone.time(value)} still`);
      if (recorded) this.timeline.setHead(value);
    } else {
      this.badge.hidden = true;
      this.say(this.camera.state === "recording" ? "No picture" : STATES[this.camera.state], value);
    }
  }

  show(kind, text) {
    this.words.hidden = true;
    this.badge.hidden = false;
    this.badge.dataset.kind = kind;
    say(this.badge, text);
  }

  say(title, text) {
    this.words.hidden = false;
    say(this.wordsTitle, title);
    say(this.wordsText, text ?? "");
  }

  /** Out of sight, or in a tab that nobody looks at, nothing is fetched. */
  look(inSight = this.inSight) {
    this.inSight = inSight;
    const shown = inSight && !document.hidden;
    if (this.mode !== "live" || this.shown === shown) return;
    if (shown) {
      this.live();
    } else {
      this.shown = false;
      this.player?.stop();
    }
  }

  /** Opens one of the two forms and closes the other: they share the range on the timeline. */
  toggle(form) {
    const opened = form.element.hidden ? form : null;
    this.choosing = opened;
    for (const [one, button] of [[this.saving, this.toSave], [this.holding, this.toHold]]) {
      one.element.hidden = one !== opened;
      button.setAttribute("aria-expanded", String(one === opened));
    }
    if (opened) opened.open(this.timeline.head ?? Date.now());
    else this.timeline.setChoice(null);
  }
}

function codecName(codec) {
  if (!codec) return null;
  if (/^avc/.test(codec)) return "H.264";
  if (/^mp4v\.6c$/i.test(codec)) return "MJPEG";
  return /^h(vc|ev)1/.test(codec) ? "H.265" : codec;
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
