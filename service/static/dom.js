// Small helpers for making and finding elements, and for words with numbers.

/** The element of this id. */
export const byId = (id) => document.getElementById(id);

/** A new element of a class, with text. */
export function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

/** A new button that does something. */
export function button(text, kind, onClick) {
  const made = element("button", `button ${kind}`.trim(), text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/** A copy of what stands in the page's <template> of this id. */
export const copyOf = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** "No photo", "1 photo", "3 photos". */
export function counted(number, singular, plural = `${singular}s`) {
  if (number === 0) return `No ${singular}`;
  return number === 1 ? `1 ${singular}` : `${number.toLocaleString("en")} ${plural}`;
}

/** Offer a Blob as a file to be saved. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
