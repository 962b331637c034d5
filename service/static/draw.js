// Draws faces over a photo. Coordinates of faces are pixels of the upright photo.

import { placeLabels } from "./labels.js";

/** Below this a landmark counts as hidden. */
export const VISIBLE = 0.5;

// Landmarks joined by a line, as places in the answer's list of 21.
const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [13, 14, 15], [17, 18, 19]];

const INK = "#ffffff";
const LIT = "#ffd84d";
const SHADE = "rgb(0 0 0 / 55%)";
const AXES = { x: "#ff7b72", y: "#7ee787", z: "#79b8ff" };

/**
 * Draw every face; `lit` is the index of the one to bring out, or null; faces are numbered from 1 unless they have a `number`. `show` = {boxes, landmarks, pose}.
 * `view` = {scale, bounds, pen}: pixels of the canvas to one of the photo; the part of the canvas that is seen, as
 * {left, top, right, bottom}; and how much thicker than on a screen lines and letters are (1 when left out).
 */
export function drawFaces(context, faces, view, show, lit) {
  context.lineCap = "round";
  context.lineJoin = "round";
  const labels = show.boxes ? placeNumbers(context, faces, view) : [];
  const order = [...faces.keys()].filter((i) => i !== lit);
  if (lit !== null) order.push(lit); // on top
  for (const i of order) {
    const color = i === lit ? LIT : INK;
    context.globalAlpha = lit === null || i === lit ? 1 : 0.4;
    if (show.boxes) drawBox(context, faces[i].box, view, color);
    if (show.landmarks && faces[i].landmarks) drawLandmarks(context, faces[i].landmarks, view, color);
    if (show.pose) drawPose(context, faces[i], view);
  }
  for (const i of order) {
    context.globalAlpha = lit === null || i === lit ? 1 : 0.4;
    if (labels[i]) drawNumber(context, labels[i], numberOf(faces[i], i), i === lit ? LIT : INK, penOf(view));
  }
  context.globalAlpha = 1;
}

const numberOf = ({ number }, index) => String(number ?? index + 1);
const penOf = ({ pen = 1 }) => pen;

function onCanvas({ x, y, width, height }, { scale }) {
  return { left: x * scale, top: y * scale, right: (x + width) * scale, bottom: (y + height) * scale };
}

function placeNumbers(context, faces, view) {
  const pen = penOf(view);
  context.font = `600 ${13 * pen}px system-ui, sans-serif`;
  const sizes = faces.map((face, i) => ({ width: context.measureText(numberOf(face, i)).width + 12 * pen, height: 20 * pen }));
  return placeLabels(faces.map(({ box }) => onCanvas(box, view)), sizes, view.bounds);
}

function drawBox(context, box, view, color) {
  const { left, top, right, bottom } = onCanvas(box, view);
  const path = new Path2D();
  path.roundRect(left, top, right - left, bottom - top, Math.min(10 * penOf(view), (right - left) / 8));
  stroke(context, path, color, 2 * penOf(view));
}

function drawNumber(context, { left, top, right, bottom }, number, color, pen) {
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(left, top, right - left, bottom - top, 6 * pen);
  context.fill();
  context.fillStyle = "#1a1a1a";
  context.textBaseline = "middle";
  context.fillText(number, left + 6 * pen, (top + bottom) / 2 + pen);
}

function drawLandmarks(context, landmarks, view, color) {
  const { scale } = view;
  const alpha = context.globalAlpha;
  const pen = penOf(view);
  const radius = pen * Math.min(3, Math.max(1.2, (reach(landmarks) * scale * 0.012) / pen));
  const lines = new Path2D();
  for (const line of LINES) {
    line.forEach((place, step) => {
      const { x, y } = landmarks[place];
      lines[step ? "lineTo" : "moveTo"](x * scale, y * scale);
    });
  }
  context.globalAlpha = alpha * 0.5;
  context.lineWidth = Math.max(0.8 * pen, radius * 0.5);
  context.strokeStyle = color;
  context.stroke(lines);
  for (const { x, y, visibility } of landmarks) {
    const dot = new Path2D();
    dot.arc(x * scale, y * scale, radius, 0, 2 * Math.PI);
    context.globalAlpha = visibility < VISIBLE ? alpha * 0.35 : alpha;
    stroke(context, dot, visibility < VISIBLE ? color : SHADE, pen);
    if (visibility < VISIBLE) continue; // a ring only
    context.fillStyle = color;
    context.fill(dot);
  }
  context.globalAlpha = alpha;
}

function reach(landmarks) {
  const ys = landmarks.map(({ y }) => y);
  return Math.max(...ys) - Math.min(...ys);
}

function drawPose(context, { box, landmarks, pose }, view) {
  const { scale } = view;
  const nose = landmarks?.find(({ name }) => name === "nose_tip");
  const x = (nose?.x ?? box.x + box.width / 2) * scale;
  const y = (nose?.y ?? box.y + box.height / 2) * scale;
  const length = Math.min(box.width, box.height) * scale * 0.45;
  for (const [name, [dx, dy]] of Object.entries(poseAxes(pose))) {
    const path = new Path2D();
    path.moveTo(x, y);
    path.lineTo(x + dx * length, y + dy * length);
    stroke(context, path, AXES[name], 2.5 * penOf(view));
  }
}

/**
 * Ends of the head's axes, of unit length in space, seen in the photo's plane: x to the photo's right, y down, z out of the
 * nose. The head is turned by pitch (up), then yaw (to the photo's right), then roll (clockwise).
 */
export function poseAxes({ roll, pitch, yaw }) {
  const [r, p, w] = [roll, pitch, yaw].map((degrees) => (degrees * Math.PI) / 180);
  const turn = ([x, y]) => [x * Math.cos(r) - y * Math.sin(r), x * Math.sin(r) + y * Math.cos(r)];
  return {
    x: turn([Math.cos(w), 0]),
    y: turn([Math.sin(w) * Math.sin(p), Math.cos(p)]),
    z: turn([Math.sin(w) * Math.cos(p), -Math.sin(p)]),
  };
}

/** Cut a face, with a margin, into a square canvas. `scale` takes the answer's pixels to the image's. */
export function drawThumb(canvas, image, box, scale) {
  const side = Math.max(box.width, box.height) * 1.3 * scale;
  const x = (box.x + box.width / 2) * scale - side / 2;
  const y = (box.y + box.height / 2) * scale - side / 2;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, side, side, 0, 0, canvas.width, canvas.height);
}

function stroke(context, path, color, width) {
  context.strokeStyle = SHADE;
  context.lineWidth = width + 2;
  context.stroke(path);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke(path);
}
