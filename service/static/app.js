// The page: photos come in (dropped, chosen, pasted, taken), go to the server two at a time, and are shown with their faces.

import { Problem, analyze, explain, model } from "./api.js";
import { hasCamera, onCamera, openCamera } from "./camera.js";
import { sentence } from "./cards.js";
import { count, refresh, view } from "./viewer.js";

const AT_ONCE = 2; // requests
const TRIES = 6; // for one photo, while the server is busy

const $ = (id) => document.getElementById(id);
const photos = []; // {file, url, state: waiting | working | done | failed, answer, problem, note, stop, item}
let current = null; // the photo on the stage
let limits = {};

// ---- photos in, through the server, and out

function add(files) {
  const fresh = [...files].map((file) => ({ file, url: URL.createObjectURL(file), state: "waiting", stop: new AbortController() }));
  if (!fresh.length) return;
  photos.push(...fresh);
  fresh.forEach(addToFilm);
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
    change(photo, { state: "done", answer: await analyzePatiently(photo) });
  } catch (error) {
    if (photo.stop.signal.aborted) return; // it was removed
    change(photo, { state: "failed", problem: error instanceof Problem ? error : new Problem({ detail: error.message }) });
  }
  announce(photo);
  pump();
}

async function analyzePatiently(photo) {
  for (let tries = 1; ; tries++) {
    try {
      return await analyze(photo.file, photo.stop.signal);
    } catch (error) {
      if (!error.isBusy || tries === TRIES) throw error;
      const seconds = Math.max(1, error.retryAfter ?? 2 ** tries);
      change(photo, { note: `${explain(error).title}; trying again in ${seconds} s …` });
      await pause(seconds, photo.stop.signal);
      change(photo, { note: "Looking for faces …" });
    }
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

function change(photo, news) {
  Object.assign(photo, news);
  paintFilm(photo);
  if (photo === current) refresh();
}

function announce({ file, answer, problem }) {
  const words = problem ? explain(problem) : null;
  $("announce").textContent = words
    ? `${file.name}: ${words.title}. ${words.advice}`
    : `${file.name}: ${count(answer.faces.length)}. ${answer.faces.map(sentence).join(". ")}`;
}

function remove(photo) {
  const place = photos.indexOf(photo);
  photos.splice(place, 1);
  photo.stop.abort();
  photo.item.remove();
  URL.revokeObjectURL(photo.url);
  if (photo === current) show(photos[Math.min(place, photos.length - 1)] ?? null);
  $("film").hidden = photos.length < 2;
  pump();
}

function show(photo) {
  current = photo;
  $("film").hidden = photos.length < 2;
  $("clear").hidden = !photo;
  $("intake").classList.toggle("small", Boolean(photo));
  for (const { item } of photos) item.querySelector("button").removeAttribute("aria-current");
  photo?.item.querySelector("button").setAttribute("aria-current", "true");
  photo?.item.scrollIntoView({ block: "nearest", inline: "nearest" });
  view(photo);
}

// ---- the film strip

function addToFilm(photo) {
  photo.item = $("film-item").content.firstElementChild.cloneNode(true);
  const [button, cross] = photo.item.querySelectorAll("button");
  button.querySelector("img").src = photo.url;
  button.addEventListener("click", () => show(photo));
  cross.setAttribute("aria-label", `Remove ${photo.file.name}`);
  cross.addEventListener("click", () => {
    remove(photo);
    (photos.length > 1 ? current.item.querySelector("button") : $("files")).focus();
  });
  $("film-list").append(photo.item);
  paintFilm(photo);
}

function paintFilm({ item, file, state, answer }) {
  const faces = answer?.faces.length;
  const words = { waiting: "waiting", working: "in work", failed: "failed" }[state] ?? count(faces);
  item.dataset.state = state;
  item.querySelector("button").setAttribute("aria-label", `${file.name}: ${words}`);
  item.querySelector(".film-state").textContent = state === "failed" ? "!" : (faces ?? "");
}

// ---- controls

$("files").addEventListener("change", ({ target }) => {
  add(target.files);
  target.value = ""; // the same file may be chosen again
});
$("clear").addEventListener("click", () => {
  while (photos.length) remove(photos.at(-1));
  $("files").focus();
});
$("retry").addEventListener("click", () => {
  $("panel-title").focus();
  change(current, { state: "waiting", problem: null });
  pump();
});
document.addEventListener("paste", (event) => add(event.clipboardData.files));

let depth = 0; // of elements dragged over
const dragged = (step) => (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  depth += step;
  $("drop-here").hidden = depth <= 0;
};
document.addEventListener("dragenter", dragged(1));
document.addEventListener("dragover", dragged(0));
document.addEventListener("dragleave", dragged(-1));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  $("drop-here").hidden = true;
  const isFile = (item) => item.kind === "file" && !item.webkitGetAsEntry()?.isDirectory;
  add([...event.dataTransfer.items].filter(isFile).map((item) => item.getAsFile()));
});

$("camera-open").hidden = !hasCamera;
$("camera-open").addEventListener("click", openCamera);
onCamera((file) => add([file]));

// ---- the server

async function meetServer() {
  try {
    const found = await model();
    limits = found.limits ?? {};
    $("service").dataset.state = "ready";
    $("service-text").textContent = "Ready";
    $("model").hidden = false;
    $("digest").textContent = found.digest.slice(0, 12);
    $("digest").title = found.digest;
  } catch (error) {
    $("service").dataset.state = "waiting";
    $("service-text").textContent = explain(error).title;
    setTimeout(meetServer, 3000);
  }
}
void meetServer();
