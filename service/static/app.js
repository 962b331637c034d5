// The page of faces: photos come in (dropped, chosen, pasted, taken), go to the server two at a time, and are shown.

import { Problem, bytes, call, photoForm } from "./api.js";
import { hasCamera, openCamera } from "./camera.js";
import { sentence } from "./cards.js";
import { isVideo, trackSentence } from "./clip.js";
import { byId, counted } from "./dom.js";
import { onPhotos } from "./dropping.js";
import { saveCsv } from "./export.js";
import { addToFilm, markCurrent, paintFilm } from "./film.js";
import { followVideo } from "./follow.js";
import { checkKey, noticeRefusal, onKeyChange } from "./key.js";
import { patiently } from "./patience.js";
import { limits, meetServer } from "./server.js";
import "./unseen.js";
import { chooseView, countFaces, facesOf, refresh, view } from "./viewer.js";
import { explain } from "./words.js";

const AT_ONCE = 2; // requests
const MOST_FACES = 500; // of a photo
const EXAMPLE = "static/example.jpg";

const ANNOUNCED = 10; // photos between two announcements while more are in work

const photos = []; // {file, url, state: waiting | working | done | failed, answer, problem, note, stop, item}
let current = null; // the photo on the stage
let finished = []; // photos that were analyzed, or failed, since all were last finished

// ---- photos in, through the server, and out

function add(files) {
  const fresh = [...files].map((file) => ({ file, url: URL.createObjectURL(file), state: "waiting", stop: new AbortController() }));
  if (!fresh.length) return;
  photos.push(...fresh);
  byId("example-problem").textContent = "";
  for (const photo of fresh) addToFilm(photo, show, removeByHand);
  show(fresh[0]);
  pump();
}

function pump() {
  const working = photos.filter(({ state }) => state === "working").length;
  for (const photo of photos.filter(({ state }) => state === "waiting").slice(0, AT_ONCE - working)) void send(photo);
}

async function send(photo) {
  change(photo, { state: "working", note: "Looking for faces …" });
  try {
    if (photo.file.size > (limits.max_bytes ?? Infinity)) throw new Problem({ code: "body_too_large", status: 413 });
    const answer = await patiently(() => analyze(photo), photo.stop.signal, (note) => change(photo, { note }));
    if (photo === current) chooseView(answer);
    change(photo, { state: "done", answer });
  } catch (error) {
    if (photo.stop.signal.aborted) return; // it was removed
    change(photo, { state: "failed", problem: Problem.of(error) });
    noticeRefusal(photo.problem);
    if (photo.problem.code === "unreachable") void meetServer();
  }
  announce(photo);
  pump();
}

async function analyze(photo) {
  const { file, stop } = photo;
  if (isVideo(file)) return await followVideo(file, stop.signal, (note) => change(photo, { note }));
  return await call(`v1/faces?max_faces=${MOST_FACES}`, { method: "POST", body: photoForm(file), signal: stop.signal });
}

function change(photo, news) {
  Object.assign(photo, news);
  paintFilm(photo);
  if (photo === current) refresh();
}

/** Tell a screen reader what was found: everything of a single photo; of several a sum, once all are finished. */
function announce(photo) {
  finished.push(photo);
  const left = photos.filter(({ state }) => state === "waiting" || state === "working").length;
  if (!left) {
    byId("announce").textContent = finished.length === 1 ? inWords(photo) : sumInWords(finished);
    finished = [];
  } else if (finished.length % ANNOUNCED === 0) {
    byId("announce").textContent = `${finished.length} of ${finished.length + left} photos finished`;
  }
}

function inWords({ file, answer, problem }) {
  const words = problem ? explain(problem) : null;
  return words
    ? `${file.name}: ${words.title}. ${words.advice}`
    : `${file.name}: ${countFaces(facesOf(answer).length)}. ${facesOf(answer).map(isVideo(file) ? trackSentence : sentence).join(". ")}`;
}

function sumInWords(several) {
  const faces = several.flatMap(({ answer }) => (answer ? facesOf(answer) : []));
  const failed = several.filter(({ problem }) => problem).map(({ file }) => file.name);
  return `${counted(several.length, "photo")} finished: ${countFaces(faces.length)}.${failed.length ? ` Failed: ${failed.join(", ")}.` : ""}`;
}

function remove(photo) {
  const index = photos.indexOf(photo);
  photos.splice(index, 1);
  if (!photos.length) finished = [];
  photo.stop.abort();
  photo.item.remove();
  URL.revokeObjectURL(photo.url);
  if (photo === current) show(photos[Math.min(index, photos.length - 1)] ?? null);
  byId("film").hidden = photos.length < 2;
  pump();
}

function removeByHand(photo) {
  remove(photo);
  (photos.length > 1 ? current.item.querySelector("button") : byId("files")).focus();
}

function show(photo) {
  current = photo;
  byId("film").hidden = photos.length < 2;
  byId("clear").hidden = !photo;
  byId("example").hidden = Boolean(photo);
  byId("intake").classList.toggle("small", Boolean(photo));
  markCurrent(photos, photo);
  view(photo);
}

function again(photo) {
  change(photo, { state: "waiting", problem: null });
  pump();
}

// ---- controls

byId("files").addEventListener("change", ({ target }) => {
  add(target.files);
  target.value = ""; // the same file may be chosen again
});
byId("clear").addEventListener("click", () => {
  while (photos.length) remove(photos.at(-1));
  byId("files").focus();
});
byId("retry").addEventListener("click", () => {
  byId("panel-title").focus();
  again(current);
});
byId("example").addEventListener("click", async ({ currentTarget }) => {
  currentTarget.disabled = true; // a second click would load it twice
  try {
    add([new File([await bytes(EXAMPLE)], "example.jpg", { type: "image/jpeg" })]);
  } catch (error) {
    const { title, advice } = explain(Problem.of(error));
    byId("example-problem").textContent = `${title}. ${advice}`;
  } finally {
    byId("example").disabled = false;
  }
});
byId("save-csv").addEventListener("click", () => saveCsv(photos));
byId("camera-open").hidden = !hasCamera;
byId("camera-open").addEventListener("click", () => void openCamera((file) => add([file])));
onPhotos(add, (isOver) => (byId("drop-here").hidden = !isOver));
onKeyChange(() => {
  for (const photo of photos.filter(({ problem }) => problem?.status === 401 || problem?.code === "forbidden")) again(photo);
});

void meetServer();
void checkKey();
