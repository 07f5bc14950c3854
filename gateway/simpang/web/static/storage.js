/** Storage: how many days there are and will be, where footage lies, what is under way. What is well takes one line. */
import { h, refill } from "./dom.js";
import { days, size } from "./zone.js";

const DAY_MS = 86400000;
// More lines than this are folded away until somebody asks.
const FEW = 6;
const LIMITS = { age: "its age limit", space: "room on the disk", minimum: "too little room on the disk" };
const KINDS = { ssd: "SSD", disk: "Disk", sd: "SD card or stick", emmc: "eMMC" };
const STATES = {
  present: "", draining: "Being emptied", full: "Full", failing: "Its disk fails", missing: "Missing", foreign: "Of another site",
};

export class StorageLines {
  constructor(zone) {
    this.zone = zone;
    this.days = h("div", { class: "item", id: "days" });
    this.folders = h("div", { class: "lines", id: "folders" });
    this.cut = h("div", { class: "item", id: "power-cut" });
    this.index = h("div", { class: "item", id: "index" });
    this.element = h("div", { class: "lines" }, this.days, this.folders, this.cut, this.index);
  }

  /** Answers of the API. items: of health, of which each line shows its own. */
  show({ cameras, forecast, storage, disks, index, items }) {
    this.showDays(cameras, forecast, items);
    this.showFolders(storage, disks, items);
    this.showPowerCut(disks);
    this.showIndex(index, items);
  }

  showDays(cameras, forecast, items) {
    const rows = streamRows(cameras, forecast, Date.now());
    const troubles = items.filter(({ subject, code }) => /^(promise|stream)\//.test(subject) || /^(quota|nothing-to-evict)/.test(code));
    const risks = riskWords(forecast, troubles);
    const least = (name) => Math.min(...rows.map((row) => row[name] ?? Infinity));
    const [there, lasting] = [least("there"), least("will")];
    this.days.dataset.severity = risks.length && !troubles.length ? "warning" : severity(troubles);
    const summary = [
      Number.isFinite(there) ? `Footage reaches back at least ${days(there)}` : "No footage yet",
      !Number.isFinite(lasting) ? "." : `; as things are ${lasting < 1 / 1440 ? "nearly nothing of some streams will be kept" : `it will come to at least ${days(lasting)}`}.`,
    ].join("");
    const table = rows.map((row) => [row.name, row.there === null ? "none yet" : days(row.there), row.will === null ? "not measured yet" : willBe(row), row.limit]);
    const open = this.days.querySelector("details")?.open ?? rows.length <= FEW;
    refill(this.days, [summary, table, troubles, risks], () => [
      h("p", {}, summary),
      ...risks.map((words) => h("p", {}, words)),
      risks.length ? h("p", { class: "remedy" }, "Add space, lower bit rates, keep other streams shorter, or agree on fewer days.") : "",
      ...advice(troubles),
      rows.length ? h("details", { open }, h("summary", {}, "Each stream"), h("table", {},
        h("thead", {}, h("tr", {}, ...["Stream", "There are", "Will be", "What limits it"].map((words) => h("th", { scope: "col" }, words)))),
        h("tbody", {}, ...table.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), ...cells.map((cell) => h("td", {}, cell))))))) : "",
    ]);
  }

  showFolders(storage, disks, items) {
    const lines = storage.items.map((folder) => folderLine(folder, storage.items.length > 1, disks.items, items));
    const { move } = storage;
    const path = (id) => storage.items.find((folder) => folder.id === id)?.path ?? `folder ${id}`;
    const all = items.filter(({ subject, code }) => subject === "disk" && code !== "move-waits");
    refill(this.folders, [lines, move, all], () => [
      all.length ? h("div", { class: "item", "data-severity": severity(all) }, ...advice(all)) : "",
      ...lines.map(({ path: name, words, state, troubles }) => h("div", { class: "item", "data-severity": severity(troubles), "data-folder": name },
        h("p", {}, h("code", {}, name), state ? h("strong", {}, ` ${state}. `) : " ", words),
        // What is the matter stands under Health; what is to be done is said here, too.
        ...remedies(troubles))),
      move ? moveLine(move, path) : "",
    ]);
  }

  showPowerCut({ flush_s: seconds, flush_why: why }) {
    const because = why === "set" ? "as flush_s says" : why.replace(/^default: /, "");
    refill(this.cut, [seconds, because], () => [
      h("p", {}, `A power cut costs up to ${seconds} s of footage (${because}).`)]);
  }

  showIndex(index, items) {
    const troubles = items.filter((item) => item.subject === "index");
    this.index.dataset.severity = severity(troubles);
    const at = index.backup && Date.parse(index.backup);
    const backup = at ? `, with a backup of ${this.zone.day(at)}, ${this.zone.minute(at)}` : "";
    refill(this.index, [index, troubles], () => (index.state === "rebuilding" ? [
      h("p", {}, `The list of footage is being rebuilt: ${index.total === null ? "looking for files" : `${index.done} of ${index.total} files`}.`),
      h("progress", { max: Math.max(index.total ?? 1, 1), value: index.total === null ? null : index.done, "aria-label": "Rebuilding" }),
      ...advice(troubles),
    ] : [
      troubles.length ? "" : h("p", {}, index.state === "adopting" ? "The list of footage is being brought up to date." : `The list of footage is in order${backup}.`),
      ...advice(troubles),
    ]));
  }
}

/** Every stream that is recorded or has footage: what there is of it, what will be, and what limits it. */
function streamRows(cameras, forecast, now) {
  const rows = new Map();
  const several = (camera) => camera.streams.length > 1;
  for (const camera of cameras) {
    for (const stream of camera.streams) {
      rows.set(`${camera.id}/${stream.name}`, {
        name: several(camera) ? `${camera.name}, ${stream.name}` : camera.name,
        there: since(stream.oldest, now), will: null, events: null, limit: "",
      });
    }
  }
  for (const found of forecast.items) {
    const key = `${found.camera}/${found.stream}`;
    const row = rows.get(key) ?? { name: key, there: since(found.oldest, now) };
    const { days: will, event_days: events, limited_by: by } = found.before ?? found.after;
    rows.set(key, { ...row, will, events, limit: LIMITS[by] ?? `its share of the disk (${by})` });
  }
  return [...rows.values()];
}

function since(time, now) { return time ? (now - Date.parse(time)) / DAY_MS : null; }

/** Promises that will not be kept, of which Health does not speak yet: the least days of each party's. */
function riskWords(forecast, troubles) {
  const worst = new Map();
  for (const risk of forecast.before.promises_at_risk) {
    if (troubles.some((item) => item.subject === `promise/${risk.party}/${risk.camera}/${risk.stream}`)) continue;
    if (!(worst.get(risk.party)?.days <= risk.days)) worst.set(risk.party, risk);
  }
  return [...worst.values()].map((risk) =>
    `${risk.party} is promised ${days(risk.promised_days)}; of ${risk.camera}, ${risk.stream} it will be ${days(risk.days)}.`);
}

function willBe({ will, events }) {
  return events > will * 1.05 ? `${days(will)} (events ${days(events)})` : days(will);
}

function folderLine(folder, several, disks, items) {
  const disk = disks.find((one) => one.folders.includes(folder.path));
  const troubles = items.filter(({ subject }) => subject === `folder/${folder.path}` || (disk && subject === `disk/${disk.name}`));
  const words = [
    folder.free_bytes === null ? null : `${size(folder.free_bytes)} free of ${size(folder.total_bytes)}`,
    `${size(folder.bytes)} of footage${folder.max_bytes ? ` (${size(folder.max_bytes)} at most)` : ""}`,
    several && folder.current ? "new footage goes here" : null,
    disk ? wear(disk) : null,
  ].filter(Boolean).join(" · ");
  return { path: folder.path, words, state: STATES[folder.state] ?? folder.state, troubles };
}

function wear(disk) {
  const left = disk.life_left === null ? "" : `, ${disk.life_left} % of its life left`;
  const written = disk.bytes_per_day === null ? "" : `, ${size(disk.bytes_per_day)} written a day`;
  return (KINDS[disk.kind] ?? "Disk") + left + written;
}

function moveLine(move, path) {
  const moved = move.total_bytes - move.left_bytes;
  const what = `Moving footage from ${path(move.from)} to ${path(move.to)}`;
  const done = move.state === "done";
  return h("div", { class: "item", id: "move", "data-severity": move.state === "waiting" || move.problems ? "warning" : "ok" },
    h("p", {}, done ? `${path(move.from)} has been emptied into ${path(move.to)}; nothing is written there until \`simpang buffer move --stop\`.`
      : `${what}: ${size(moved)} of ${size(move.total_bytes)}${move.state === "waiting" ? ", waits" : ""}.`),
    done ? "" : h("progress", { max: Math.max(move.total_bytes, 1), value: moved, "aria-label": what }),
    move.detail ? h("p", { class: "remedy" }, move.detail) : "",
    move.problems ? h("p", { class: "remedy" }, `${move.problems} files could not be moved; look at the disk's health.`) : "");
}

function severity(items) {
  if (items.some((item) => item.severity === "critical")) return "critical";
  return items.length ? "warning" : "ok";
}

/** What is the matter, then what to do, which several may share. */
function advice(items) {
  return [...items.map((item) => h("p", {}, item.cause.en)), ...remedies(items)];
}

function remedies(items) {
  return [...new Set(items.map((item) => item.remedy.en))].map((words) => h("p", { class: "remedy" }, words));
}
