/** What stands below the cameras: health, and what is being sent. */
import { ask } from "./api.js";
import { h, say } from "./dom.js";
import { duration, size } from "./zone.js";

const SEVERITIES = { ok: "All well", warning: "Needs a look", critical: "Needs help", unknown: "Unknown" };
const WAITS = {
  window: "waits for its allowed hours",
  cap: "waits: this month's volume is used up",
  link: "waits for the network or the store",
  yield: "waits for something more urgent",
};
const ENDED = new Set(["done", "partial", "failed", "refused", "expired", "cancelled"]);
const WORDS = {
  received: "received", authorised: "received", planned: "planned", queued: "in the queue", sending: "sending",
  verifying: "checking that all arrived", done: "done", partial: "done, with gaps", failed: "failed",
  refused: "refused", expired: "expired", cancelled: "cancelled",
};

export function showHealth(health, zone) {
  const pill = document.getElementById("health-pill");
  pill.dataset.severity = health.severity;
  say(pill, SEVERITIES[health.severity] ?? health.severity);
  const roots = health.items.filter((item) => !item.caused_by);
  const key = JSON.stringify(roots.map((item) => [item.code, item.subject, item.severity, item.cause.en]));
  const list = document.getElementById("health-items");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...(roots.length ? roots.map((item) => healthItem(item, zone)) : [
    h("div", { class: "item" }, h("p", {}, "Nothing needs attention.")),
  ]));
}

function healthItem(item, zone) {
  const since = item.since ? ` Since ${zone.day(Date.parse(item.since))}, ${zone.time(Date.parse(item.since))}.` : "";
  return h("div", { class: "item", "data-severity": item.severity },
    h("p", {}, h("strong", {}, zone.plain(item.cause.en)), since),
    h("p", { class: "remedy" }, zone.plain(item.remedy.en)),
    item.subject === "clock" ? h("p", {}, h("a", { href: "#clock-line" }, "Look at the clock")) : null);
}

export function showJobs(jobs, zone, { names, mayCancel, refresh }) {
  document.getElementById("jobs").hidden = !jobs.length;
  document.getElementById("job-items").replaceChildren(...jobs.slice(0, 20).map((job) => {
    const [start, end] = [Date.parse(job.start), Date.parse(job.end)];
    const what = `${names.get(job.camera) ?? job.camera}, ${zone.day(start)} ${zone.time(start)} (${duration(end - start)})`;
    const ended = ENDED.has(job.state);
    const total = job.bytes_total;
    const state = job.state === "waiting" ? WAITS[job.waiting_for] ?? "waits" : WORDS[job.state] ?? job.state;
    const amount = total ? `${size(job.bytes_done)} of ${size(total)}` : "";
    return h("li", { "data-job": job.id, "data-job-state": job.state },
      h("div", { class: "line" },
        h("span", {}, h("strong", {}, what), ` to ${job.central}`),
        ended || !mayCancel ? null : h("button", { class: "quiet", onclick: () => cancel(job.id, refresh) }, "Cancel")),
      ended ? null : h("progress", { max: Math.max(total, 1), value: job.bytes_done, "aria-label": what }),
      h("p", { class: "small" }, [state, amount, job.reason].filter(Boolean).join(" · ")));
  }));
}

async function cancel(id, refresh) {
  await ask(`/api/v1/jobs/${id}`, { method: "DELETE" }).catch((problem) => problem);
  refresh();
}

export function showDiscovery(discovery) {
  say(document.getElementById("where-looked"), discovery.where_looked.join(", ") || "nothing (discovery is off)");
  document.getElementById("found").replaceChildren(...discovery.items.map((device) => h("li", {},
    h("strong", {}, device.address), ` ${[device.name, device.hardware].filter(Boolean).join(" ")}`,
    device.detail ? `: ${device.detail}` : "")));
}
