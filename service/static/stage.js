// The photo on the stage, and the canvas over it on which its faces are drawn.

import { byId } from "./dom.js";
import { drawFaces } from "./draw.js";
import { centreOn, endedDrag, onZoom, place, resized, showWhole } from "./zoom.js";

const MAX_UPSCALE = 3; // small photos are shown larger, within reason

/** The photo's <img>; loaded when it is complete and has a natural width. */
export const picture = byId("photo");
const overlay = byId("overlay");
const listeners = { hover: () => {}, pick: () => {}, load: () => {} };
let shown = null; // {url, file, answer} or null
let lit = null;

/** Set what happens when a face is pointed at (its index or null), picked (its index), and when the photo is there. */
export function onStage(given) {
  Object.assign(listeners, given);
}

/** Put a photo on the stage, or null to empty it. */
export function putOnStage(photo) {
  shown = photo;
  lit = null;
  if (photo) picture.src = photo.url;
  else picture.removeAttribute("src");
  showWhole();
}

/** Fit the frame to the photo, say so where the browser cannot show it, and draw; call it when the answer came. */
export function fitStage() {
  const { width = picture.naturalWidth, height = picture.naturalHeight } = shown?.answer ?? {};
  const scale = width && Math.min(byId("room").clientWidth / width, (window.innerHeight * 0.74) / height, MAX_UPSCALE);
  byId("no-preview").hidden = !(shown?.answer && picture.complete && !picture.naturalWidth);
  const before = byId("frame").clientWidth;
  byId("frame").style.width = `${width * scale}px`;
  byId("frame").style.height = `${height * scale}px`;
  resized(before ? byId("frame").clientWidth / before : 1); // paints
}

/** Bring out one face of the photo, or none. */
export function lightOnStage(index) {
  lit = index;
  paint();
}

/** Move a face into the middle of a zoomed photo. */
export function centreFace({ box }) {
  const scale = overlay.clientWidth / shown.answer.width;
  centreOn((box.x + box.width / 2) * scale, (box.y + box.height / 2) * scale);
}

/** What is drawn: {boxes, landmarks, pose}. */
export function layers() {
  const isChecked = (id) => byId(id).checked;
  return { boxes: isChecked("show-boxes"), landmarks: isChecked("show-landmarks"), pose: isChecked("show-details") };
}

function paint() {
  const dense = window.devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = overlay;
  overlay.width = Math.round(width * dense); // clears it
  overlay.height = Math.round(height * dense);
  if (!shown?.answer) return;
  const context = overlay.getContext("2d");
  context.scale(dense, dense);
  context.translate(place.x, place.y);
  const bounds = { left: -place.x, top: -place.y, right: width - place.x, bottom: height - place.y };
  drawFaces(context, shown.answer.faces, { scale: (width / shown.answer.width) * place.zoom, bounds }, layers(), lit);
}

function faceAt(event) {
  if (!shown?.answer) return null;
  const { left, top, width } = overlay.getBoundingClientRect();
  const scale = (width / shown.answer.width) * place.zoom;
  const x = (event.clientX - left - place.x) / scale;
  const y = (event.clientY - top - place.y) / scale;
  const isInside = ({ box }) => x >= box.x && y >= box.y && x <= box.x + box.width && y <= box.y + box.height;
  const index = shown.answer.faces.findLastIndex(isInside); // largest first: the last is the smallest
  return index < 0 ? null : index;
}

overlay.addEventListener("pointermove", (event) => listeners.hover(faceAt(event)));
overlay.addEventListener("pointerleave", () => listeners.hover(null));
overlay.addEventListener("click", (event) => {
  const index = faceAt(event);
  if (index !== null && !endedDrag()) listeners.pick(index);
});
picture.addEventListener("load", () => listeners.load());
picture.addEventListener("error", () => fitStage()); // no longer to the photo before
onZoom(paint);
new ResizeObserver(fitStage).observe(byId("room"));
window.addEventListener("resize", fitStage);
for (const layer of ["show-boxes", "show-landmarks", "show-details"]) byId(layer).addEventListener("change", paint);
