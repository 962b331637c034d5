// Faces cut out of photos, and photos with a named box around each face.

import { button, element } from "./dom.js";
import { drawThumb } from "./draw.js";
import { placeLabels } from "./labels.js";

const SIDE = 144; // pixels of a cut-out
const SMALLEST = 256; // CSS pixels of a photo's width
const HIGHEST = 512; // CSS pixels of a photo's height

/** Whether a file is a video that the browser may show as one. */
export const isVideo = ({ type }) => type.startsWith("video/");

/** A canvas with a face cut out of a photo; it stays empty if the browser cannot show the photo. Of a video, the whole. */
export function cutOut(file, box, name) {
  if (isVideo(file)) return still(file, name);
  const canvas = Object.assign(element("canvas", "cut-out"), { width: SIDE, height: SIDE });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  void loaded(file).then((image) => drawThumb(canvas, image, box, 1)).catch(() => {});
  return canvas;
}

/** A small picture of a video, without controls: its boxes belong to frames that only the server knows. */
function still(file, name = "") {
  const video = Object.assign(element("video", "cut-out"), { muted: true, playsInline: true, preload: "auto" });
  if (name) video.setAttribute("aria-label", name);
  else video.setAttribute("aria-hidden", "true");
  showFile(video, file, "emptied");
  return video;
}

/** A photo as an <img>, without its faces. */
export function wholePhoto(file) {
  if (isVideo(file)) return still(file);
  const image = element("img", "cut-out");
  image.alt = "";
  showFile(image, file);
  return image;
}

/**
 * A photo with a box for each face: {box, label, isKnown}. With `onPick(index)` the boxes are buttons.
 * Labels lie beside the boxes, over no face and no other label; the text of one without room is shown on hover.
 */
export function photoWithFaces(file, faces, onPick = null) {
  if (isVideo(file)) return videoWithFaces(file, faces, onPick);
  const figure = element("figure", "group-photo");
  const image = new Image();
  image.alt = `${file.name} with ${faces.length === 1 ? "1 face" : `${faces.length} faces`}`;
  const boxes = faces.map((face, index) => makeBox(face, index, onPick));
  const labels = faces.map(({ label, isKnown }) => {
    const made = element("span", "face-label", label);
    made.dataset.known = isKnown;
    made.setAttribute("aria-hidden", String(Boolean(onPick)));
    return made;
  });
  figure.append(image, ...boxes, ...labels);
  const arrange = () => arrangeBoxes(figure, image, faces, boxes, labels);
  image.addEventListener("load", () => (figure.style.width = `${shownWidth(image)}px`));
  image.addEventListener("error", () => figure.classList.add("unseen"));
  showFile(image, file);
  new ResizeObserver(arrange).observe(figure);
  return figure;
}

/** A video, and with `onPick(index)` a button for each of its faces, the largest first. */
function videoWithFaces(file, faces, onPick) {
  const figure = element("figure", "group-video");
  const video = Object.assign(element("video"), { muted: true, playsInline: true, controls: true, preload: "auto" });
  video.setAttribute("aria-label", `${file.name} with ${faces.length === 1 ? "1 face" : `${faces.length} faces`}`);
  showFile(video, file, "emptied");
  figure.append(video, ...(onPick ? faces.map(({ label }, index) => button(label, "small", () => onPick(index))) : []));
  return figure;
}

/** CSS pixels: as large as the photo, but neither tiny nor higher than the window. */
function shownWidth({ naturalWidth, naturalHeight }) {
  return Math.min(Math.max(naturalWidth, SMALLEST), (HIGHEST * naturalWidth) / naturalHeight);
}

function makeBox({ label }, index, onPick) {
  const made = element(onPick ? "button" : "span", "face-box");
  made.title = label;
  if (onPick) {
    made.type = "button";
    made.setAttribute("aria-label", label);
    made.addEventListener("click", () => onPick(index));
  }
  return made;
}

function arrangeBoxes(figure, image, faces, boxes, labels) {
  if (!image.naturalWidth || !figure.clientWidth) return;
  const scale = figure.clientWidth / image.naturalWidth;
  const places = faces.map(({ box }) => ({
    left: box.x * scale, top: box.y * scale, right: (box.x + box.width) * scale, bottom: (box.y + box.height) * scale,
  }));
  const sizes = labels.map(({ offsetWidth, offsetHeight }) => ({ width: offsetWidth, height: offsetHeight }));
  const bounds = { left: 0, top: 0, right: figure.clientWidth, bottom: figure.clientHeight };
  const spots = placeLabels(places, sizes, bounds);
  places.forEach(({ left, top, right, bottom }, index) => {
    Object.assign(boxes[index].style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    labels[index].classList.toggle("without-room", !spots[index]);
    if (spots[index]) Object.assign(labels[index].style, { left: `${spots[index].left}px`, top: `${spots[index].top}px` });
  });
}

const images = new WeakMap(); // file → promise of its loaded image

/** The photo in a file, upright. Each file is decoded once. */
function loaded(file) {
  if (!images.has(file)) {
    const image = new Image();
    showFile(image, file);
    images.set(file, image.decode().then(() => image));
  }
  return images.get(file);
}

/** Show a file; after the event `last` its address is given up. A video is read on for as long as it is shown. */
function showFile(image, file, last = "load") {
  const url = URL.createObjectURL(file);
  for (const end of [last, "error"]) image.addEventListener(end, () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
}
