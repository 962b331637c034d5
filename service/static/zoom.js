// Zoom and pan of the photo in its frame: buttons, Ctrl + wheel, drag, two fingers, keys.

import { byId } from "./dom.js";

const LARGEST = 12;
const STEP = 1.5;
const KEY_MOVE = 60; // CSS pixels

const frame = byId("frame");
const pointers = new Map(); // id → {x, y} in the frame
let changed = () => {};
let wasDragged = false;

/** How the photo lies in the frame: `zoom` times its fitting size, moved by x and y CSS pixels. */
export const place = { zoom: 1, x: 0, y: 0 };

/** Call `listener` whenever the photo was zoomed or moved. */
export function onZoom(listener) {
  changed = listener;
}

/** Show the whole photo. */
export function showWhole() {
  Object.assign(place, { zoom: 1, x: 0, y: 0 });
  apply();
}

/** Keep the same part in view when the frame was made `ratio` times as large. */
export function resized(ratio) {
  place.x *= ratio;
  place.y *= ratio;
  apply();
}

/** Move a point of the frame's whole photo (CSS pixels) into the middle, as far as the photo reaches. */
export function centreOn(x, y) {
  if (place.zoom === 1) return;
  place.x = frame.clientWidth / 2 - x * place.zoom;
  place.y = frame.clientHeight / 2 - y * place.zoom;
  apply();
}

/** Whether the pointer that was just released had moved the photo. */
export const endedDrag = () => wasDragged;

function zoomBy(factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
  const zoom = Math.min(LARGEST, Math.max(1, place.zoom * factor));
  const ratio = zoom / place.zoom;
  Object.assign(place, { zoom, x: x - (x - place.x) * ratio, y: y - (y - place.y) * ratio });
  apply();
}

function moveBy(dx, dy) {
  place.x += dx;
  place.y += dy;
  apply();
}

function apply() {
  const most = 1 - place.zoom;
  place.x = Math.min(0, Math.max(frame.clientWidth * most, place.x));
  place.y = Math.min(0, Math.max(frame.clientHeight * most, place.y));
  byId("photo").style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.zoom})`;
  frame.classList.toggle("zoomed", place.zoom > 1);
  byId("zoom-out").disabled = place.zoom === 1;
  byId("zoom-in").disabled = place.zoom === LARGEST;
  changed();
}

function inFrame({ clientX, clientY }) {
  const { left, top } = frame.getBoundingClientRect();
  return { x: clientX - left, y: clientY - top };
}

byId("zoom-in").addEventListener("click", () => zoomBy(STEP));
byId("zoom-out").addEventListener("click", () => zoomBy(1 / STEP));
byId("zoom-fit").addEventListener("click", showWhole);

frame.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
  event.preventDefault();
  const { x, y } = inFrame(event);
  zoomBy(Math.exp(-event.deltaY / 200), x, y);
}, { passive: false });

frame.addEventListener("keydown", (event) => {
  const actions = {
    "+": () => zoomBy(STEP),
    "=": () => zoomBy(STEP),
    "-": () => zoomBy(1 / STEP),
    0: showWhole,
    ArrowLeft: () => moveBy(KEY_MOVE, 0),
    ArrowRight: () => moveBy(-KEY_MOVE, 0),
    ArrowUp: () => moveBy(0, KEY_MOVE),
    ArrowDown: () => moveBy(0, -KEY_MOVE),
  };
  const isArrow = event.key.startsWith("Arrow");
  if (!actions[event.key] || event.ctrlKey || event.metaKey || (isArrow && place.zoom === 1)) return;
  event.preventDefault();
  actions[event.key]();
});

frame.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  wasDragged = false;
  pointers.set(event.pointerId, inFrame(event));
});

frame.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = inFrame(event);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  pointers.set(event.pointerId, now);
  if (other) zoomBy(distance(now, other) / Math.max(1, distance(before, other)), other.x, other.y);
  else if (place.zoom > 1) moveBy(now.x - before.x, now.y - before.y);
  if (distance(now, before) > 1 && (other || place.zoom > 1)) {
    wasDragged = true;
    frame.setPointerCapture(event.pointerId);
  }
});

for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
  frame.addEventListener(end, ({ pointerId }) => pointers.delete(pointerId));
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
