/** The page: asks the API, keeps one card per camera, and says when the gateway does not answer. */
import { ask, every, get } from "./api.js";
import { Card } from "./card.js";
import { ClockLine } from "./clock.js";
import { say } from "./dom.js";
import { heldNow, HoldList } from "./holds.js";
import { showDiscovery, showHealth, showJobs } from "./panels.js";
import { StorageLines } from "./storage.js";
import { Zone } from "./zone.js";

// More moving pictures than this are shown by the small stream: sixteen large ones are too much for a laptop.
const FEW = 4;

const zone = new Zone(document.body.dataset.timeZone);
const role = document.body.dataset.role;
const pictures = "pictures" in document.body.dataset;
const grid = document.getElementById("cameras");
const notice = document.getElementById("notice");
const cards = new Map();
const mayChange = role === "installer";
let centrals = [];
let held = [];
let troubles = [];

const storageLines = new StorageLines(zone);
const holdList = new HoldList(zone, mayChange, () => holds());
const clockLine = new ClockLine(zone, mayChange, () => storage());
document.getElementById("storage-lines").append(
  storageLines.element, ...(pictures ? [holdList.element] : []), clockLine.element);

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) cards.get(entry.target.dataset.camera)?.look(entry.isIntersecting);
}, { rootMargin: "200px" });

/** Runs a question to the gateway; a failure is said once, at the top, until one succeeds. */
async function asking(question) {
  try {
    await question();
    notice.hidden = true;
  } catch (problem) {
    say(notice, problem.status ? problem.message : "The gateway does not answer. This page tries again by itself.");
    notice.hidden = false;
  }
}

async function state() {
  const [{ items }, health] = await Promise.all([get("/api/v1/cameras"), get("/api/v1/health")]);
  troubles = health.items;
  // The worst comes first, and is what a camera's card shows.
  const advice = new Map([...health.items].reverse().map((item) => [item.subject, item]));
  showHealth(health, zone);
  const known = new Set(items.map((camera) => camera.id));
  for (const [id, card] of cards) {
    if (known.has(id)) continue;
    card.leave();
    card.element.remove();
    cards.delete(id);
  }
  for (const camera of items) {
    const card = cards.get(camera.id);
    if (card) card.update(camera, advice.get(`camera/${camera.id}`));
    else add(camera, items.length > FEW);
  }
  document.getElementById("no-cameras").hidden = items.length > 0;
  if (!items.length) showDiscovery(await get("/api/v1/discovery"));
}

function add(camera, crowded) {
  const card = new Card(zone, camera, {
    pictures, crowded, mayHold: mayChange, centrals: mayChange ? centrals : [], sent: () => jobs(), held: () => holds(),
  });
  cards.set(camera.id, card);
  card.timeline?.setHolds(held);
  const rendered = grid.querySelector(`[data-camera="${CSS.escape(camera.id)}"]`);
  if (rendered) rendered.replaceWith(card.element);
  else grid.append(card.element);
  sight.observe(card.element);
}

async function jobs() {
  const { items } = await get("/api/v1/jobs");
  showJobs(items, zone, { names: names(), mayCancel: mayChange, refresh: jobs });
}

async function storage() {
  const paths = ["site", "storage", "storage/disks", "storage/forecast", "index"];
  const [site, folders, disks, forecast, index] = await Promise.all(paths.map((path) => get(`/api/v1/${path}`)));
  clockLine.show(site.clock, troubles.find((item) => item.subject === "clock"));
  const cameras = [...cards.values()].map((card) => card.camera);
  storageLines.show({ cameras, forecast, storage: folders, disks, index, items: troubles });
}

async function holds() {
  held = await heldNow();
  holdList.show(held, names());
  for (const card of cards.values()) card.timeline?.setHolds(held);
}

function names() { return new Map([...cards].map(([id, card]) => [id, card.camera.name])); }

document.getElementById("sign-out").addEventListener("click", async () => {
  await ask("/api/v1/session", { method: "DELETE" }).catch((problem) => problem);
  location.replace("/");
});

const clock = document.getElementById("clock");
const tickClock = () => say(clock, `${zone.day(Date.now())}, ${zone.time(Date.now())}`);
tickClock();
setInterval(tickClock, 1000);

document.addEventListener("visibilitychange", () => {
  for (const card of cards.values()) card.look();
});

await asking(async () => {
  const uplinks = await get("/api/v1/uplinks");
  centrals = uplinks.items.filter((uplink) => uplink.store).map((uplink) => uplink.central);
});
await every(2000, () => asking(state));
every(2000, () => asking(jobs));
every(10000, () => asking(storage));
if (pictures) every(10000, () => asking(holds));
every(5000, () => Promise.all([...cards.values()].map((card) => card.timeline?.tick())));
