// The photo on the stage and the panel beside it: what was found, as cards or as a list, one face brought out in both.

import { makeCard } from "./cards.js";
import { isVideo, showClip } from "./clip.js";
import { byId, counted, element } from "./dom.js";
import { saveAnnotated, saveJson } from "./export.js";
import { fillList } from "./list.js";
import { centreFace, fitStage, layers, lightOnStage, onStage, picture, putOnStage } from "./stage.js";
import { explain } from "./words.js";

const MANY = 8; // more faces than that are shown as a list at first
const SMALLEST_FACE = 24; // pixels, where the answer does not say it

let current = null; // {file, url, state, answer, problem, note}
let rows = []; // of the list, in the order of the faces
let hovered = null; // index of a face, or null
let pinned = null;

/** "No face", "1 face", "3 faces". */
export const countFaces = (number) => counted(number, "face");

/** The faces in an answer about a photo, or the followed ones of a video. */
export const facesOf = ({ faces, tracks }) => faces ?? tracks;

/** Put a photo or video on the stage, or null to empty it. */
export function view(next) {
  current = next;
  hovered = null;
  pinned = null;
  byId("work").hidden = !next;
  const clip = next && isVideo(next.file) ? next : null;
  byId("frame").hidden = Boolean(clip);
  putOnStage(clip ? null : next);
  showClip(clip);
  if (!next) return;
  chooseView(next.answer);
  refresh();
}

/** Show what has become of the photo on the stage. */
export function refresh() {
  const { state, answer, problem, note, file } = current;
  const failed = problem && explain(problem);
  byId("file-name").textContent = file.name;
  const found = answer ? countFaces(facesOf(answer).length) : "Analyzing";
  byId("panel-title").textContent = failed?.title ?? found;
  picture.alt = answer ? `${file.name}, ${answer.width} × ${answer.height} pixels, ${found}` : file.name;
  byId("working").hidden = state !== "working" && state !== "waiting";
  byId("working-text").textContent = state === "waiting" ? "Waiting for its turn …" : note;
  showProblem(problem, failed);
  showRest(answer);
  byId("tools").hidden = !answer?.faces?.length;
  byId("facts").hidden = !answer;
  byId("save-photo").hidden = isVideo(file);
  byId("save-csv").hidden = isVideo(file);
  if (isVideo(file)) showClip(current);
  fillFaces();
  if (answer) fillFacts(answer);
  fitStage();
  light();
}

/** Show the faces of a new answer as a list when there are many. */
export function chooseView(answer) {
  byId(answer?.faces?.length > MANY ? "view-list" : "view-cards").checked = true;
}

/** Say what was not found: no face at all, or more faces than the answer has. */
function showRest(answer) {
  const size = Math.ceil(answer?.searched_min_size ?? SMALLEST_FACE);
  byId("no-face").hidden = !answer || facesOf(answer).length > 0;
  byId("no-face").textContent = `The network found no face in this photo. Faces from about ${size} pixels on are found; a larger or sharper copy may help.`;
  byId("more-faces").hidden = !answer?.more;
  byId("more-faces").textContent = `The photo shows ${answer?.faces_seen} faces; the ${answer?.faces?.length} largest are shown.`;
}

function showProblem(problem, failed) {
  byId("problem").hidden = !problem;
  byId("problem-advice").textContent = failed?.advice ?? "";
  byId("problem-detail").textContent = problem?.detail ?? "";
  byId("problem-id").textContent = problem?.requestId ? `Request ${problem.requestId}` : "";
  byId("retry").hidden = !problem?.mayPass;
}

function fillFaces() {
  const faces = current.answer?.faces ?? [];
  const image = picture.complete && picture.naturalWidth ? picture : null;
  const scale = image && current.answer ? image.naturalWidth / current.answer.width : 1;
  const asList = byId("view-list").checked;
  byId("views").hidden = faces.length < 2;
  byId("cards").hidden = asList;
  byId("list-room").hidden = !asList || !faces.length;
  const cards = asList ? [] : faces.map((face, index) => wire(makeCard(face, index, image, scale), index));
  byId("cards").replaceChildren(...cards);
  rows = fillList(asList ? faces : [], image, scale, wire);
}

function wire(item, index) {
  for (const come of ["pointerenter", "focusin"]) item.addEventListener(come, () => hover(index));
  for (const go of ["pointerleave", "focusout"]) item.addEventListener(go, () => hover(null));
  item.querySelector("button").addEventListener("click", () => {
    pin(index);
    if (pinned !== null) centreFace(current.answer.faces[index]);
  });
  return item;
}

function fillFacts(answer) {
  const stages = Object.entries(answer.timings_ms ?? {}).map(([stage, ms]) => {
    const item = element("div");
    item.append(element("dt", "", stage.replaceAll("_", " ")), element("dd", "", `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`));
    return item;
  });
  byId("timings").replaceChildren(...stages);
  byId("json").textContent = JSON.stringify(answer, null, 2);
  byId("copied").textContent = "";
}

// ---- one face brought out, from its card or row or from the photo

const items = () => (byId("view-list").checked ? rows : [...byId("cards").children]);

function hover(index) {
  hovered = index;
  light();
}

function pin(index) {
  pinned = pinned === index ? null : index;
  light();
}

function light() {
  const lit = hovered ?? pinned;
  items().forEach((item, index) => {
    item.classList.toggle("lit", index === lit);
    item.querySelector("button").setAttribute("aria-pressed", String(index === pinned));
  });
  lightOnStage(lit);
}

onStage({
  hover,
  pick: (index) => {
    pin(index);
    if (pinned !== null) items()[index].scrollIntoView({ block: "nearest" });
  },
  load: () => current && refresh(),
});

function showDetails() {
  const shown = byId("show-details").checked;
  byId("work").classList.toggle("with-details", shown);
  byId("legend").hidden = !shown;
  byId("timings").hidden = !shown;
}

byId("show-details").addEventListener("change", showDetails);
for (const id of ["view-cards", "view-list"]) byId(id).addEventListener("change", () => refresh());

// ---- the answer to take away

byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(byId("json").textContent);
    byId("copied").textContent = "Copied";
  } catch { // no clipboard outside https and localhost
    getSelection().selectAllChildren(byId("json"));
    byId("copied").textContent = "Selected: copy with the keyboard";
  }
});
byId("save-json").addEventListener("click", () => saveJson(current));
byId("save-photo").addEventListener("click", () => void saveAnnotated(current, picture.naturalWidth ? picture : null, layers()));
