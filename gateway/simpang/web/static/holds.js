/** What nobody may evict: the list of holds, and releasing one. */
import { ask, get } from "./api.js";
import { field, h, refill, say, signed, whoField } from "./dom.js";
import { stretch } from "./zone.js";

// More than this are not read on a page; the command line lists them all.
const MOST = 500;

/** All that hold now, as the API tells them, with times in ms. */
export async function heldNow() {
  const { items } = await get("/api/v1/holds");
  return items.slice(0, MOST).map((hold) => ({
    ...hold, from: Date.parse(hold.start), to: Date.parse(hold.end), ends: hold.until && Date.parse(hold.until),
  }));
}

export class HoldList {
  /** mayRelease: whether this role may. changed(): once one is released. */
  constructor(zone, mayRelease, changed) {
    Object.assign(this, { zone, mayRelease, changed });
    this.element = h("div", { class: "item", id: "holds" });
  }

  /** names: of cameras, by id. */
  show(holds, names) {
    refill(this.element, [holds, [...names]], () => (holds.length ? [
      h("p", {}, holds.length === 1 ? "1 stretch of footage is held: it stays until it is released."
        : `${holds.length} stretches of footage are held: they stay until they are released.`),
      h("ul", { class: "found" }, ...holds.map((hold) => this.row(hold, names))),
    ] : [h("p", {}, "Nothing is held back from being overwritten.")]));
  }

  row(hold, names) {
    const { zone } = this;
    const what = `${names.get(hold.camera) ?? hold.camera}${hold.stream ? ` (${hold.stream})` : ""}, ${stretch(zone, hold.from, hold.to)}`;
    const until = hold.ends ? `until ${zone.day(hold.ends)}, ${zone.minute(hold.ends)}` : "until it is released";
    const about = [hold.case && `case ${hold.case}`, hold.legal && "by law", `held by ${hold.who} ${until}`];
    const place = h("div");
    const opener = h("button", {
      class: "quiet", "aria-label": `Release ${what}`, "aria-expanded": "false",
      onclick: () => {
        const open = !place.children.length;
        opener.setAttribute("aria-expanded", String(open));
        place.replaceChildren(...(open ? [this.form(hold)] : []));
        place.querySelector("input")?.focus();
      },
    }, "Release");
    return h("li", { "data-hold": hold.id },
      h("div", { class: "line" }, h("span", {}, h("strong", {}, what), `: ${hold.reason}`), this.mayRelease ? opener : null),
      h("p", { class: "small" }, about.filter(Boolean).join(" · ")), place);
  }

  form(hold) {
    const [who, whoLabel] = whoField("Your name");
    const [why, whyLabel] = field("Why it may go", { maxlength: 500 });
    const words = h("p", { class: "small", role: "status" });
    const release = async (event) => {
      event.preventDefault();
      signed(who);
      try {
        await ask(`/api/v1/holds/${hold.id}?${new URLSearchParams({ who: who.value, reason: why.value })}`, { method: "DELETE" });
        await this.changed();
      } catch (problem) {
        say(words, problem.message);
      }
    };
    return h("form", { class: "form", onsubmit: release },
      h("div", { class: "fields" }, whoLabel, whyLabel),
      h("div", { class: "row" }, h("button", { class: "primary" }, "Release it"), words));
  }
}
