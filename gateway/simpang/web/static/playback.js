/** Recorded footage: one clip after the other, each from where the gateway says that the next one starts. */
import { ask } from "./api.js";
import { wire } from "./zone.js";

// A clip's list of fragments is made for each request; ten minutes are quick to seek in and light to make.
const CLIP_MS = 10 * 60 * 1000;
// Nearer to now than this is live.
const NOW_MS = 4000;

export class ClipPlayer {
  /** tell(kind, value): "time" ms UTC, "gap" [from, to] jumped over, "nothing", "end" (now is reached), "failed". */
  constructor(video, path, tell) {
    this.video = video;
    this.path = path;
    this.tell = tell;
    this.onTime = () => this.clip && this.tell("time", this.time());
    this.onEnded = () => this.next();
    this.onError = () => this.clip && this.tell("failed");
  }

  time() { return this.clip.start + this.video.currentTime * 1000; }

  /** Plays from a moment (ms UTC). */
  async play(moment) {
    this.stop();
    for (const [event, listener] of this.listeners()) this.video.addEventListener(event, listener);
    this.running = true;
    await this.open(wire(moment), moment);
  }

  stop() {
    this.running = false;
    this.clip = null;
    for (const [event, listener] of this.listeners()) this.video.removeEventListener(event, listener);
    this.video.removeAttribute("src");
    this.video.load();
  }

  listeners() { return [["timeupdate", this.onTime], ["ended", this.onEnded], ["error", this.onError]]; }

  async open(start, moment) {
    const from = Date.parse(start);
    const end = wire(Math.min(from + CLIP_MS, Date.now()));
    const url = `${this.path}/clip.mp4?start=${encodeURIComponent(start)}&end=${encodeURIComponent(end)}&exact=1&audio=aac`;
    let response;
    try {
      response = await ask(url, { method: "HEAD" });
    } catch (problem) {
      if (this.running) this.tell(problem.status === 404 ? "nothing" : "failed", problem.message);
      return;
    }
    if (!this.running) return;
    const next = response.headers.get("Simpang-Next");
    this.clip = {
      start: Date.parse(response.headers.get("Simpang-Start")),
      end: Date.parse(response.headers.get("Simpang-End")),
      next: next ?? response.headers.get("Simpang-End"),
    };
    this.video.src = url;
    const skip = (moment - this.clip.start) / 1000;
    if (skip > 0) this.video.currentTime = skip;
    this.video.play().catch(() => {});
  }

  async next() {
    const { end, next } = this.clip;
    const from = Date.parse(next);
    if (from > Date.now() - NOW_MS) {
      this.tell("end");
      return;
    }
    if (from - end > 1000) this.tell("gap", [end, from]);
    await this.open(next, from);
  }
}
