/** What there is to say of a camera that records: late pictures, what had to be put right, what is not recorded. */
import { h, refill } from "./dom.js";

// Pictures come a little late over any network; from here on a person sees it.
const LATE_S = 2;
// A sign-in that runs out in mid-session and is renewed is how digest works, not a fault.
const ORDINARY = new Set(["signed_again"]);

/** Shows it in an element, which stays hidden where all is well. */
export function showRemarks(element, camera) {
  const said = camera.streams.flatMap((stream, index) => remarks(stream).map((words) => (index ? `${stream.name}: ${words}` : words)));
  const repairs = repaired(camera.streams);
  element.hidden = !said.length && !repairs.length;
  element.toggleAttribute("data-quiet", !said.length);
  const open = element.querySelector("details")?.open;
  refill(element, [said, repairs], () => [
    ...said.map((words) => h("p", {}, words)),
    repairs.length ? h("details", { open }, h("summary", {}, "What this camera does wrong is put right here"),
      h("ul", {}, ...repairs.map(([words, count]) => h("li", {}, `${words}: ${count.toLocaleString("en")} ×`)))) : "",
  ]);
}

function remarks({ lag_s: lag, key_frames_s: apart, audio }) {
  return [
    lag >= LATE_S ? `Pictures come ${lag.toFixed(lag < 10 ? 1 : 0)} s late: the network or the camera is slow.` : null,
    apart ? `Key frames are ${Math.round(apart)} s apart, so clips begin early and stills are old. In the camera, set the key frame (I-frame) interval to 2 s.` : null,
    audio?.endsWith("not recorded") ? `No sound is kept (${audio}). In the camera, set the sound to AAC or G.711.` : null,
  ].filter(Boolean);
}

/** [words, count] over all streams. The numbers in brackets point into our own papers. */
function repaired(streams) {
  const counts = new Map();
  for (const { kind, words, count } of streams.flatMap((stream) => stream.repairs)) {
    if (ORDINARY.has(kind)) continue;
    const plain = words.en.replace(/ \(\d+\.\d+\)$/, "");
    counts.set(plain, (counts.get(plain) ?? 0) + count);
  }
  return [...counts];
}
