// Results to take away: the photo with its marks, the answer as JSON, all faces as CSV.

import { save } from "./dom.js";
import { drawFaces } from "./draw.js";

const SCREEN = 900; // on a photo of so many pixels lines are as thick as on the screen

const COLUMNS = [
  "file", "face", "x", "y", "width", "height", "score", "age", "age_low", "age_high", "gender", "female", "smile", "roll", "pitch", "yaw",
];

const stem = (name) => name.replace(/\.[^.]+$/, "");

/** Save the answer about a photo as JSON. */
export function saveJson({ file, answer }) {
  save(new Blob([JSON.stringify(answer, null, 2)], { type: "application/json" }), `${stem(file.name)}.json`);
}

/** Save the photo in its own size with its faces drawn; `image` is null when the browser cannot show it. */
export async function saveAnnotated({ file, answer }, image, layers) {
  const { width, height, faces } = answer;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (image) context.drawImage(image, 0, 0, width, height);
  const pen = Math.max(1, Math.max(width, height) / SCREEN);
  drawFaces(context, faces, { scale: 1, bounds: { left: 0, top: 0, right: width, bottom: height }, pen }, layers, null);
  save(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 }), `${stem(file.name)}-faces.jpg`);
}

/** Save one line for each face of all photos that have an answer. */
export function saveCsv(photos) {
  const lines = photos.filter(({ answer }) => answer?.faces).flatMap(({ file, answer }) => answer.faces.map((face, index) => row(file.name, face, index)));
  save(new Blob([[COLUMNS, ...lines].map(csvLine).join("")], { type: "text/csv" }), "faces.csv");
}

function row(name, face, index) {
  const { box, pose, age_range: range } = face;
  const place = [box.x, box.y, box.width, box.height];
  const traits = [face.age, range?.low ?? "", range?.high ?? "", face.gender, face.female, face.smile];
  return [name, index + 1, ...place, face.score, ...traits, pose.roll, pose.pitch, pose.yaw];
}

function csvLine(values) {
  return `${values.map(csvValue).join(",")}\r\n`;
}

function csvValue(value) {
  if (typeof value === "number") return String(value);
  const harmless = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value; // spreadsheets run what looks like a formula
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
