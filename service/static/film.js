// The strip of all photos, shown when there are several.

import { byId, copyOf } from "./dom.js";
import { countFaces, facesOf } from "./viewer.js";

/** Add a photo to the strip; `show` and `remove` are called with it. */
export function addToFilm(photo, show, remove) {
  photo.item = copyOf("film-item");
  const [open, cross] = photo.item.querySelectorAll("button");
  open.querySelector("img").src = photo.url;
  open.querySelector(".film-name").textContent = photo.file.name;
  open.title = photo.file.name;
  open.addEventListener("click", () => show(photo));
  cross.setAttribute("aria-label", `Remove ${photo.file.name}`);
  cross.addEventListener("click", () => remove(photo));
  byId("film-list").append(photo.item);
  paintFilm(photo);
}

/** Show in the strip what has become of a photo. */
export function paintFilm({ item, state, answer }) {
  const faces = answer && facesOf(answer).length;
  const words = { waiting: "waiting", working: "being analyzed", failed: "failed" }[state] ?? countFaces(faces);
  item.dataset.state = state;
  item.querySelector(".film-words").textContent = words;
  item.querySelector(".film-state").textContent = state === "failed" ? "!" : (faces ?? "");
}

/** Mark the photo that is on the stage. */
export function markCurrent(photos, current) {
  for (const { item } of photos) item.querySelector("button").removeAttribute("aria-current");
  current?.item.querySelector("button").setAttribute("aria-current", "true");
  current?.item.scrollIntoView({ block: "nearest", inline: "nearest" });
}
