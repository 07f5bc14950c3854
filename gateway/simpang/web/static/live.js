/** Live pictures: fragments from a WebSocket into a MediaSource, kept near the live edge. */

// Behind the newest picture; a stall widens it, a quiet minute narrows it again.
const TARGET_S = 0.15;
const WIDEST_S = 0.8;
// Further behind than this is caught up by a jump, less by playing a little faster.
const JUMP_S = 1.2;
const KEEP_S = 8;
const STEER_MS = 200;
const SILENT_MS = 6000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

export function canPlay(codec) {
  return Boolean(codec && Source?.isTypeSupported(`video/mp4; codecs="${codec}"`));
}

export class LivePlayer {
  /** tell(kind, words): "live", "connecting", "silent" or "unsupported". */
  constructor(video, path, tell) {
    this.video = video;
    this.url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}/live`;
    this.tell = tell;
    this.tries = 0;
    this.target = TARGET_S;
    this.stalled = () => {
      this.target = Math.min(this.target + 0.05, WIDEST_S);
      this.stalledAt = performance.now();
    };
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.video.addEventListener("waiting", this.stalled);
    this.steering = setInterval(() => this.steer(), STEER_MS);
    this.connect();
  }

  stop() {
    this.running = false;
    clearInterval(this.steering);
    clearTimeout(this.retry);
    this.video.removeEventListener("waiting", this.stalled);
    this.socket?.close();
    this.socket = null;
    this.release();
  }

  connect() {
    this.tell("connecting");
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.heardAt = performance.now();
      if (typeof data === "string") this.hear(JSON.parse(data));
      else this.append(data);
    };
    socket.onclose = () => {
      if (socket !== this.socket || !this.running) return;
      this.tell("connecting");
      this.retry = setTimeout(() => this.connect(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
    };
  }

  hear(message) {
    if (message.type !== "init") return;
    if (!Source?.isTypeSupported(message.mime)) {
      this.stop();
      this.tell("unsupported");
      return;
    }
    this.release();
    this.queue = [];
    const source = new Source();
    this.source = source;
    // Safari's managed source wants to be told that nothing is sent elsewhere.
    this.video.disableRemotePlayback = true;
    this.address = URL.createObjectURL(source);
    this.video.src = this.address;
    source.addEventListener("sourceopen", () => {
      if (source !== this.source) return;
      source.duration = Infinity;
      this.buffer = source.addSourceBuffer(message.mime);
      this.buffer.addEventListener("updateend", () => this.drain());
      this.drain();
    }, { once: true });
  }

  append(data) {
    this.queue?.push(data);
    this.drain();
  }

  drain() {
    if (!this.buffer || this.buffer.updating || this.source.readyState !== "open") return;
    try {
      const start = this.buffer.buffered.length ? this.buffer.buffered.start(0) : 0;
      if (this.video.currentTime - start > 2 * KEEP_S) {
        this.buffer.remove(0, this.video.currentTime - KEEP_S);
      } else if (this.queue.length) {
        // All that came meanwhile in one append: after a stall that is what catches up.
        const waiting = this.queue.length === 1 ? this.queue[0] : joined(this.queue);
        this.queue = [];
        this.buffer.appendBuffer(waiting);
        this.steer();
      }
    } catch (error) {
      // The browser gave up on this source (a decoder error, a full buffer): a new connection makes a new one.
      console.warn("live picture starts over", error);
      this.socket?.close();
    }
  }

  steer() {
    const { video } = this;
    const silent = performance.now() - this.heardAt > SILENT_MS;
    if (silent && this.socket?.readyState === WebSocket.OPEN) this.tell("silent");
    if (video.error) this.socket?.close();
    const buffered = this.buffer && video.buffered;
    if (!buffered?.length) return;
    const edge = buffered.end(buffered.length - 1);
    const behind = edge - video.currentTime;
    if (performance.now() - (this.stalledAt ?? 0) > 60000) this.target = Math.max(this.target - 0.001, TARGET_S);
    if (behind > JUMP_S || behind < 0) video.currentTime = Math.max(edge - this.target, buffered.start(buffered.length - 1));
    const excess = behind - this.target;
    const rate = excess > 0.3 ? 1.25 : excess > 0.08 ? 1.1 : 1;
    if (video.playbackRate !== rate) video.playbackRate = rate;
    if (video.paused) video.play().catch(() => {});
    if (!silent && !video.paused && video.readyState >= 2) {
      this.tries = 0;
      this.tell("live");
    }
  }

  release() {
    this.source = this.buffer = this.queue = null;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    this.video.playbackRate = 1;
    this.video.removeAttribute("src");
    this.video.load();
  }
}

function joined(buffers) {
  const whole = new Uint8Array(buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0));
  let at = 0;
  for (const buffer of buffers) {
    whole.set(new Uint8Array(buffer), at);
    at += buffer.byteLength;
  }
  return whole;
}
