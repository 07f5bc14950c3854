/** The site's clock: everything on the page is in the site's time zone, wherever the browser is. Times are ms UTC. */
export class Zone {
  constructor(name) {
    const make = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: name, hourCycle: "h23", ...options });
    this.name = name;
    this.parts = make({
      year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    });
    this.timeFormat = make({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
    this.minuteFormat = make({ hour: "2-digit", minute: "2-digit" });
    this.dayFormat = make({ weekday: "short", day: "numeric", month: "short" });
  }

  time(ms) { return this.timeFormat.format(ms); }
  minute(ms) { return this.minuteFormat.format(ms); }
  day(ms) { return this.dayFormat.format(ms); }

  /** "2026-11-24T09:00:00", as a datetime-local field wants it. */
  local(ms) {
    const at = Object.fromEntries(this.parts.formatToParts(ms).map((part) => [part.type, part.value]));
    return `${at.year}-${at.month}-${at.day}T${at.hour}:${at.minute}:${at.second}`;
  }

  /** The moment that a datetime-local field means here; NaN where it is empty. */
  moment(local) {
    const asUtc = Date.parse(`${local}Z`);
    // Twice: the first guess may stand on the other side of a change of the clocks.
    let ms = asUtc - this.offset(asUtc);
    ms = asUtc - this.offset(ms);
    return ms;
  }

  offset(ms) {
    if (Number.isNaN(ms)) return NaN;
    const whole = Math.floor(ms / 1000) * 1000;
    return Date.parse(`${this.local(whole)}Z`) - whole;
  }

  /** Words of the gateway with the times in them as people here read them. */
  plain(words) {
    return words.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) => `${this.day(Date.parse(time))}, ${this.time(Date.parse(time))}`);
  }

  midnight(ms) { return this.moment(`${this.local(ms).slice(0, 10)}T00:00:00`); }
}

/** 75 s as "1 min 15 s". */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const words = [[hours, "h"], [minutes, "min"], [rest, "s"]].filter(([count]) => count);
  return words.slice(0, 2).map(([count, unit]) => `${count} ${unit}`).join(" ") || "0 s";
}

/** "Tue 24 Nov, 10:00 to 10:15"; the second day only where it is another. */
export function stretch(zone, from, to) {
  const [first, last] = [zone.day(from), zone.day(to)];
  return `${first}, ${zone.minute(from)} to ${first === last ? "" : `${last}, `}${zone.minute(to)}`;
}

/** 2.5 as "2.5 days", 0.1 as "2 h": as exact as it is worth saying. */
export function days(count) {
  if (count >= 2) return `${count.toFixed(count < 10 ? 1 : 0)} days`;
  if (count >= 1 / 24) return `${Math.floor(count * 24)} h`;
  return count >= 1 / 1440 ? `${Math.floor(count * 1440)} min` : "less than a minute";
}

export function size(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  return bytes < 1e12 ? `${(bytes / 1e9).toFixed(bytes < 1e11 ? 1 : 0)} GB` : `${(bytes / 1e12).toFixed(1)} TB`;
}

/** RFC 3339, UTC. */
export function wire(ms) { return new Date(ms).toISOString(); }
