// A video on the stage, and the faces that were followed through it.

import { byId, element } from "./dom.js";
import { drawFaces } from "./draw.js";

const view = byId("clip-view");
const overlay = byId("clip-overlay");
let shown = null; // {url, file, answer} or null
let lit = null; // index of a track, or null

/** Whether a file is a video that is followed, and no photo. */
export const isVideo = (file) => file.type.startsWith("video/");

/** One sentence for screen readers: "Face 1: from 0.0 to 4.2 s". */
export const trackSentence = ({ first, last }, index) => `Face ${index + 1}: from ${first.toFixed(1)} to ${last.toFixed(1)} s`;

/** Put a video on the stage, or null for none. */
export function showClip(next) {
  byId("clip").hidden = !next;
  byId("tracks").hidden = !next?.answer;
  if (next?.url !== shown?.url) {
    if (next) view.src = next.url;
    else view.removeAttribute("src");
    lit = null;
  }
  shown = next;
  byId("tracks").replaceChildren(...(next?.answer?.tracks ?? []).map(trackItem));
  paint();
}

function trackItem(track, index) {
  const item = element("li", "card track");
  const heading = element("h3");
  const open = element("button", "card-button", `Face ${index + 1}`);
  open.type = "button";
  open.setAttribute("aria-pressed", String(index === lit));
  open.addEventListener("click", () => seek(track, index));
  heading.append(open);
  item.classList.toggle("lit", index === lit);
  item.append(heading, element("p", "", `Seen from ${track.first.toFixed(1)} to ${track.last.toFixed(1)} s`));
  item.append(element("p", "muted small", `Best at ${track.best.time.toFixed(1)} s, quality ${Math.round(track.best.quality.overall * 100)} %`));
  return item;
}

function seek(track, index) {
  lit = index;
  view.pause();
  view.currentTime = track.best.time;
  [...byId("tracks").children].forEach((item, place) => {
    item.classList.toggle("lit", place === lit);
    item.querySelector("button").setAttribute("aria-pressed", String(place === lit));
  });
  paint();
}

function paint() {
  const dense = window.devicePixelRatio;
  overlay.width = Math.round(overlay.clientWidth * dense); // clears it
  overlay.height = Math.round(overlay.clientHeight * dense);
  if (!shown?.answer || !overlay.clientWidth) return;
  const { width, height, tracks } = shown.answer;
  const scale = Math.min(overlay.clientWidth / width, overlay.clientHeight / height);
  const context = overlay.getContext("2d");
  context.scale(dense, dense);
  context.translate((overlay.clientWidth - width * scale) / 2, (overlay.clientHeight - height * scale) / 2);
  const seen = tracks.map((track, index) => ({ box: boxAt(track, view.currentTime), number: index + 1 })).filter(({ box }) => box);
  const bounds = { left: 0, top: 0, right: width * scale, bottom: height * scale };
  const place = seen.findIndex(({ number }) => number - 1 === lit);
  drawFaces(context, seen, { scale, bounds }, { boxes: true }, place < 0 ? null : place);
}

/** Where a face is at a time, as in the nearest frame that was looked at; null before and after its track. */
function boxAt({ first, last, faces }, time) {
  const slack = 0.05; // seconds: players stop a little beside the time they are set to
  if (time < first - slack || time > last + slack) return null;
  const distance = (face) => Math.abs(face.time - time);
  return faces.reduce((best, face) => (distance(face) < distance(best) ? face : best)).box;
}

for (const event of ["timeupdate", "seeked", "loadeddata"]) view.addEventListener(event, paint);
new ResizeObserver(paint).observe(view);
