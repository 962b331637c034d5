// Places that take photos: chosen, dropped, pasted or taken, shown with their file names until they are removed.

import { hasCamera, openCamera } from "./camera.js";
import { copyOf, element } from "./dom.js";
import { onPhotos } from "./dropping.js";
import { isVideo } from "./pictures.js";

const wells = new WeakMap(); // element → Well
let latest = null; // the well that was used last

/** One such place, in an element of class `well` with data-label and perhaps data-multiple. */
export class Well {
  constructor(root) {
    this.root = root;
    this.files = [];
    this.urls = new Map(); // file → object URL of its preview
    this.isMultiple = "multiple" in root.dataset;
    wells.set(root, this);
    root.append(...copyOf("well").children);
    this.label(root.dataset.label);
    const input = root.querySelector("input");
    input.multiple = this.isMultiple;
    input.addEventListener("change", () => {
      this.add(input.files);
      input.value = ""; // the same file may be chosen again
    });
    const camera = root.querySelector(".well-camera");
    camera.hidden = !hasCamera;
    camera.addEventListener("click", () => void openCamera((photo) => this.add([photo])));
    root.addEventListener("focusin", () => (latest = this));
    root.addEventListener("pointerdown", () => (latest = this));
  }

  /** Name the well and its controls. */
  label(text) {
    const photos = this.isMultiple ? "photos" : "photo";
    this.root.querySelector(".well-label").textContent = text;
    this.root.querySelector(".well-choose").textContent = `Choose ${photos}`;
    this.root.querySelector("input").setAttribute("aria-label", `${text}: choose ${photos}`);
    this.root.querySelector(".well-camera").setAttribute("aria-label", `${text}: camera`);
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", text);
  }

  /** Take photos; a well for one photo keeps the last. */
  add(files) {
    const fresh = this.isMultiple ? [...files] : [...files].slice(-1);
    if (!fresh.length) return;
    if (!this.isMultiple) this.clear();
    this.files.push(...fresh);
    this.root.querySelector(".tiles").append(...fresh.map((file) => this.#tile(file)));
    this.root.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** Empty the well. */
  clear() {
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    this.urls.clear();
    this.files = [];
    this.root.querySelector(".tiles").replaceChildren();
  }

  /** Ask for a photo where none is: the browser's own words for an empty required field. */
  require() {
    const input = this.root.querySelector("input");
    input.setCustomValidity(this.files.length ? "" : "Choose a photo first.");
    const isFilled = input.reportValidity();
    input.setCustomValidity("");
    return isFilled;
  }

  #tile(file) {
    const tile = copyOf("tile");
    const url = URL.createObjectURL(file);
    const [image, name, cross] = tile.children;
    this.urls.set(file, url);
    if (isVideo(file)) image.replaceWith(Object.assign(element("video"), { src: url, muted: true, playsInline: true, ariaHidden: "true" }));
    else image.src = url;
    name.textContent = file.name;
    tile.title = file.name;
    cross.setAttribute("aria-label", `Remove ${file.name}`);
    cross.addEventListener("click", () => {
      this.#remove(file, tile);
      this.root.querySelector("input").focus();
    });
    return tile;
  }

  #remove(file, tile) {
    URL.revokeObjectURL(this.urls.get(file));
    this.urls.delete(file);
    this.files = this.files.filter((other) => other !== file);
    tile.remove();
    this.root.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** The well that takes what is dropped on an element or pasted there: that element's own, the last used, the first seen. */
function wellFor(target) {
  const own = target.closest?.(".well, .task, .subject");
  const inside = own?.matches(".well") ? own : own?.querySelector(".well");
  if (inside) return wells.get(inside);
  if (latest?.root.isConnected && latest.root.checkVisibility()) return latest;
  return wells.get([...document.querySelectorAll(".well")].find((root) => root.checkVisibility()));
}

onPhotos(
  (files, target) => wellFor(target)?.add(files),
  (isOver, target) => {
    document.querySelector(".well.over")?.classList.remove("over");
    if (isOver) wellFor(target)?.root.classList.add("over");
  },
);
