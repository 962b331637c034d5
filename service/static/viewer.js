// The photo on the stage with its faces drawn over it, and the panel beside it.

import { explain } from "./api.js";
import { makeCard } from "./cards.js";
import { drawFaces } from "./draw.js";

const MAX_UPSCALE = 3; // small photos are shown larger, within reason
const LAYERS = ["boxes", "landmarks", "pose"];

const $ = (id) => document.getElementById(id);
const [photo, overlay, cards] = [$("photo"), $("overlay"), $("cards")];
let current = null; // {file, url, state, answer, problem, note}
let hovered = null; // places in its list of faces, or null
let pinned = null;

/** "No face", "1 face", "3 faces". */
export const count = (n) => (n === 0 ? "No face" : n === 1 ? "1 face" : `${n} faces`);

/** Put a photo on the stage, or null to empty it. */
export function view(next) {
  current = next;
  hovered = pinned = null;
  $("work").hidden = !next;
  if (!next) return void photo.removeAttribute("src");
  $("no-preview").hidden = true;
  photo.src = next.url;
  refresh();
}

/** Show what has become of the photo on the stage. */
export function refresh() {
  const { state, answer, problem, note, file } = current;
  const failed = problem && explain(problem);
  $("panel-title").textContent = failed?.title ?? (answer ? count(answer.faces.length) : file.name);
  photo.alt = answer ? `${file.name}, ${answer.width} × ${answer.height} pixels, ${count(answer.faces.length)}` : file.name;
  $("working").hidden = state !== "working" && state !== "waiting";
  $("working-text").textContent = state === "waiting" ? "Waiting its turn …" : note;
  $("problem").hidden = !problem;
  $("problem-advice").textContent = failed?.advice ?? "";
  $("problem-detail").textContent = problem?.detail ?? "";
  $("problem-id").textContent = problem?.requestId ? `Request ${problem.requestId}` : "";
  $("retry").hidden = !problem?.mayPass;
  $("no-face").hidden = !answer || answer.faces.length > 0;
  $("layers").hidden = !answer?.faces.length;
  $("facts").hidden = !answer;
  fillCards();
  if (answer) fillFacts(answer);
  fit();
}

function fillCards() {
  const { answer } = current;
  const image = photo.complete && photo.naturalWidth ? photo : null;
  const scale = image && answer ? image.naturalWidth / answer.width : 1;
  cards.replaceChildren(...(answer?.faces ?? []).map((face, i) => wire(makeCard(face, i, image, scale), i)));
}

function wire(card, i) {
  for (const come of ["pointerenter", "focusin"]) card.addEventListener(come, () => light(i));
  for (const go of ["pointerleave", "focusout"]) card.addEventListener(go, () => light(null));
  card.querySelector("button").addEventListener("click", () => pin(i));
  return card;
}

function fillFacts(answer) {
  const rows = Object.entries(answer.timings_ms).map(([stage, ms]) => {
    const row = document.createElement("div");
    row.append(text("dt", stage.replaceAll("_", " ")), text("dd", `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`));
    return row;
  });
  $("timings").replaceChildren(...rows);
  $("json").textContent = JSON.stringify(answer, null, 2);
  $("copied").textContent = "";
}

const text = (tag, words) => Object.assign(document.createElement(tag), { textContent: words });

// ---- one face brought out, from its card or from the photo

function light(i) {
  hovered = i;
  paint();
}

function pin(i) {
  pinned = pinned === i ? null : i;
  paint();
}

function faceAt(event) {
  const { answer } = current;
  if (!answer) return null;
  const frame = overlay.getBoundingClientRect();
  const scale = answer.width / frame.width;
  const [x, y] = [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
  const inside = ({ box }) => x >= box.x && y >= box.y && x <= box.x + box.width && y <= box.y + box.height;
  const place = answer.faces.findLastIndex(inside); // largest first: the last is the smallest
  return place < 0 ? null : place;
}

overlay.addEventListener("pointermove", (event) => light(faceAt(event)));
overlay.addEventListener("pointerleave", () => light(null));
overlay.addEventListener("click", (event) => {
  const place = faceAt(event);
  if (place === null) return;
  pin(place);
  if (pinned !== null) cards.children[place].scrollIntoView({ block: "nearest" });
});

// ---- drawing

function fit() {
  const { width = photo.naturalWidth, height = photo.naturalHeight } = current?.answer ?? {};
  const scale = width && Math.min($("room").clientWidth / width, (window.innerHeight * 0.74) / height, MAX_UPSCALE);
  $("frame").style.width = `${width * scale}px`;
  $("frame").style.height = `${height * scale}px`;
  paint();
}

function paint() {
  const { answer } = current ?? {};
  const lit = hovered ?? pinned;
  [...cards.children].forEach((card, i) => {
    card.classList.toggle("lit", i === lit);
    card.querySelector("button").setAttribute("aria-pressed", String(i === pinned));
  });
  const dense = window.devicePixelRatio;
  overlay.width = Math.round(overlay.clientWidth * dense); // clears it
  overlay.height = Math.round(overlay.clientHeight * dense);
  if (!answer) return;
  const context = overlay.getContext("2d");
  context.scale(dense, dense);
  const on = Object.fromEntries(LAYERS.map((layer) => [layer, $(`show-${layer}`).checked]));
  drawFaces(context, answer.faces, overlay.clientWidth / answer.width, on, lit);
}

new ResizeObserver(fit).observe($("room"));
window.addEventListener("resize", fit);
for (const layer of LAYERS) $(`show-${layer}`).addEventListener("change", paint);
photo.addEventListener("load", () => current && refresh());
photo.addEventListener("error", () => current && ($("no-preview").hidden = !current.answer));

// ---- the answer to take away

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("json").textContent);
    $("copied").textContent = "Copied";
  } catch { // no clipboard outside https and localhost
    getSelection().selectAllChildren($("json"));
    $("copied").textContent = "Selected: copy with the keyboard";
  }
});
$("download").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([$("json").textContent], { type: "application/json" }));
  const name = `${current.file.name.replace(/\.[^.]+$/, "")}.json`;
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
});
