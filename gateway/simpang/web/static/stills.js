/** One picture every two seconds, for what this browser cannot play: live, or walking on from a moment. */

const PERIOD_MS = 2000;

export class StillPlayer {
  /** tell(kind, ms): "still" with the picture's own time, or "nothing" with words. */
  constructor(image, camera, tell) {
    this.image = image;
    this.path = `/api/v1/cameras/${camera}/snapshot.jpg`;
    this.tell = tell;
  }

  /** at: ms UTC, or null for now. */
  start(at = null) {
    this.stop();
    const stopped = new AbortController();
    this.stopped = stopped;
    this.walk(at, stopped.signal);
  }

  stop() {
    this.stopped?.abort();
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    this.image.removeAttribute("src");
  }

  async walk(at, signal) {
    for (let moment = at; !signal.aborted; moment = moment === null ? null : moment + PERIOD_MS) {
      const began = performance.now();
      if (moment !== null && moment > Date.now()) moment = null;
      if (!document.hidden) await this.show(moment, signal);
      const rest = Math.max(250, PERIOD_MS - (performance.now() - began));
      await new Promise((resolve) => { setTimeout(resolve, rest); });
    }
  }

  async show(moment, signal) {
    const query = moment === null ? "" : `?at=${encodeURIComponent(new Date(moment).toISOString())}`;
    try {
      const response = await fetch(this.path + query, { signal });
      if (!response.ok) {
        const problem = await response.json();
        if (!signal.aborted) this.tell("nothing", problem.detail);
        return;
      }
      const picture = await response.blob();
      if (signal.aborted) return;
      const old = this.address;
      this.address = URL.createObjectURL(picture);
      this.image.src = this.address;
      if (old) URL.revokeObjectURL(old);
      this.tell("still", Date.parse(response.headers.get("Simpang-Start")));
    } catch {
      if (!signal.aborted) this.tell("nothing", "The gateway does not answer.");
    }
  }
}
