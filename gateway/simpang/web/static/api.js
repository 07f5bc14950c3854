/** The public API. Errors are problem details (RFC 9457); being signed out shows the page that says so. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The gateway answered ${status}.`);
    this.status = status;
    this.code = body.code;
    this.body = body;
  }
}

// Long enough for a slow link, short enough that a dead one is noticed.
const PATIENCE_MS = 15000;

export async function ask(path, { method = "GET", body, headers = {} } = {}) {
  const response = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json", ...headers } : headers,
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (response.status === 401) {
    location.replace("/");
    throw new Problem(401, { detail: "Signed out." });
  }
  if (!response.ok) throw await problem(response);
  return response;
}

export async function get(path) { return (await ask(path)).json(); }

async function problem(response) {
  const json = response.headers.get("Content-Type")?.includes("json");
  return new Problem(response.status, json ? await response.json() : {});
}

export function streamPath(camera, stream) {
  return `/api/v1/cameras/${camera}/streams/${stream}`;
}

/** Calls work every periodMs, one call at a time, and never while nobody looks at the page. */
export function every(periodMs, work) {
  let timer;
  const run = async () => {
    clearTimeout(timer);
    if (!document.hidden) await work();
    timer = setTimeout(run, periodMs);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) run(); });
  return run();
}
