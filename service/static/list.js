// The faces beside the photo as a compact table that can be sorted by each of its columns.

import { ageRange, read } from "./cards.js";
import { button, byId, element } from "./dom.js";
import { drawThumb } from "./draw.js";

const shorterSide = ({ box }) => Math.min(box.width, box.height);

// {name, value to sort by, text, whether it is one of the details}
const COLUMNS = [
  { name: "Face", value: (_, index) => index, text: (_, index) => String(index + 1) },
  { name: "Age", value: ({ age }) => age, text: (face) => ageRange(face) ? `${Math.round(face.age)} (${ageRange(face)})` : String(Math.round(face.age)) },
  { name: "Gender", value: ({ female }) => female, text: ({ gender }) => gender },
  { name: "Smile", value: ({ smile }) => smile, text: ({ smile }) => read.share(smile) },
  { name: "Size", value: shorterSide, text: (face) => `${Math.round(shorterSide(face))} px` },
  { name: "Score", value: ({ score }) => score, text: ({ score }) => score.toFixed(3), detail: true },
];

let sorted = { column: COLUMNS[0], direction: 1 };
let resort = () => {};

/**
 * Fill the table with faces; `wire(row, index)` makes each row work. Returns the rows in the order of the faces.
 * `image` is the loaded photo, or null when the browser cannot show it.
 */
export function fillList(faces, image, scale, wire) {
  const rows = faces.map((face, index) => wire(makeRow(face, index, image, scale), index));
  resort = () => {
    const { column, direction } = sorted;
    const order = [...faces.keys()].sort((a, b) => direction * (column.value(faces[a], a) - column.value(faces[b], b)));
    byId("list-body").replaceChildren(...order.map((index) => rows[index]));
    fillHead();
  };
  resort();
  return rows;
}

function makeRow(face, index, image, scale) {
  const row = element("tr");
  for (const { name, text, detail } of COLUMNS) {
    const cell = element("td", detail ? "detail" : "");
    if (name === "Face") cell.append(faceButton(face, index, image, scale));
    else cell.textContent = text(face, index);
    row.append(cell);
  }
  return row;
}

function faceButton(face, index, image, scale) {
  const made = element("button", "row-button");
  made.type = "button";
  made.setAttribute("aria-pressed", "false");
  made.setAttribute("aria-label", `Face ${index + 1}`);
  const thumb = Object.assign(element("canvas", "row-thumb"), { width: 64, height: 64 });
  thumb.setAttribute("aria-hidden", "true");
  if (image) drawThumb(thumb, image, face.box, scale);
  made.append(thumb, element("span", "", String(index + 1)));
  return made;
}

function fillHead() {
  const cells = COLUMNS.map((column) => {
    const cell = element("th", column.detail ? "detail" : "");
    cell.scope = "col";
    const isSorted = column === sorted.column;
    const arrow = { 1: " ↑", "-1": " ↓" }[isSorted ? sorted.direction : 0] ?? "";
    if (isSorted) cell.setAttribute("aria-sort", sorted.direction > 0 ? "ascending" : "descending");
    cell.append(button(column.name + arrow, "plain", () => sortBy(column)));
    return cell;
  });
  byId("list-head").replaceChildren(...cells);
}

function sortBy(column) {
  sorted = { column, direction: column === sorted.column ? -sorted.direction : 1 };
  resort();
  byId("list-head").children[COLUMNS.indexOf(column)].querySelector("button").focus();
}
