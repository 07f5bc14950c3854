/** An element: `h("p", {class: "small"}, "text", child)`. Text is always text, never markup. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Sets text only where it differs, so that screen readers and selections are left in peace. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Fills an element anew only where what it shows has changed, so that focus and what is typed stay. */
export function refill(element, shown, children) {
  const key = JSON.stringify(shown);
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...children());
}

/** A labelled field of a form. */
export function field(label, attributes) {
  const input = h("input", attributes);
  return [input, h("label", {}, label, input)];
}

// Kept for the tab, so that nobody types a name twice.
const WHO = "simpang-who";

/** The field for the name of who asks for something that is remembered with a name; `signed` after it was used. */
export function whoField(label) {
  const [input, element] = field(label, { required: true, maxlength: 64, autocomplete: "name" });
  input.value = sessionStorage.getItem(WHO) ?? "";
  return [input, element];
}

export function signed(input) { sessionStorage.setItem(WHO, input.value); }
