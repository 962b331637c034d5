// A pile of photos, its faces sorted by person, each of whom can be enrolled.

import { Problem, call, photoForm } from "./api.js";
import { onCollection, openCollection } from "./collection.js";
import { button, byId, counted, element } from "./dom.js";
import { startEnrolment } from "./enrol.js";
import { onSubmit } from "./forms.js";
import { patiently } from "./patience.js";
import { cutOut } from "./pictures.js";
import { limits } from "./server.js";
import { shrunk } from "./shrink.js";
import { loadSubjects } from "./subjects.js";
import { Well } from "./wells.js";

/** Make the form for sorting a pile work. */
export function setUpPile() {
  const well = new Well(byId("pile-photos"));
  onSubmit(byId("pile"), async (signal) => {
    if (!well.require()) return [];
    const files = await thatFit(well.files);
    const collection = openOrNone();
    const answer = await patiently(() => sort(collection, files, signal), signal);
    if (signal.aborted) return [];
    byId("pile-people").replaceChildren(...peopleOf(answer, files, collection));
    return outcomeOf(answer, files);
  });
  byId("pile").addEventListener("input", clear);
  onCollection(clear);
}

const clear = () => byId("pile-people").replaceChildren();

function openOrNone() {
  try {
    return openCollection();
  } catch {
    return null; // a pile can be sorted without a collection
  }
}

async function sort(collection, files, signal) {
  const path = collection?.mayList ? `${collection.path}/clusters` : "v1/clusters"; // the first names known people
  return await call(path, { method: "POST", body: photoForm(...files), signal });
}

/** The photos, made smaller where all of them together are more than one request may hold. */
async function thatFit(files) {
  const room = 0.95 * (limits.max_request_bytes ?? Infinity);
  const total = (all) => all.reduce((sum, { size }) => sum + size, 0);
  const fitting = total(files) <= room ? files : await Promise.all(files.map(shrunk));
  if (total(fitting) > room) throw new Problem({ code: "too_many_images", status: 413 });
  return fitting;
}

function outcomeOf({ clusters, single, left_out: leftOut, errors }, files) {
  const people = clusters.length + single.length;
  const verdict = element("p", "verdict", `${counted(people, "person", "people")} in ${counted(files.length, "photo")}`);
  const unread = errors.map(({ image, error }) => element("p", "refused", `${files[image].name}: ${error.detail}`));
  if (!leftOut.length) return [verdict, ...unread];
  const words = `${counted(leftOut.length, "face")} could not be told from others: ${[...new Set(leftOut.flatMap(({ reasons }) => reasons))].join("; ")}.`;
  return [verdict, ...unread, element("p", "muted", words)];
}

function peopleOf({ clusters, single }, files, collection) {
  const groups = [...clusters.map(({ faces, subject }) => ({ faces, subject })), ...single.map((face) => ({ faces: [face], subject: face.subject }))];
  return groups.map((group, index) => personBox(group, index, files, collection));
}

function personBox({ faces, subject }, index, files, collection) {
  const box = element("form", "person");
  const title = subject ?? `Person ${index + 1}`;
  box.setAttribute("aria-label", subject ? `Person ${index + 1}: ${subject}` : title);
  const choices = faces.map((face) => faceChoice(face, files));
  const list = element("ul", "cut-outs");
  list.append(...choices.map(({ item }) => item));
  box.append(element("h3", "", `${title}${subject ? ", known already" : ""}: ${counted(faces.length, "face")}`), list);
  if (collection?.mayList) box.append(enrolLine(subject, index), outcomePlace());
  if (collection?.mayList) setUpEnrolling(box, choices, collection);
  return box;
}

function faceChoice({ image, face, box }, files) {
  const file = files[image];
  const item = element("li", "choice");
  const label = element("label");
  const check = Object.assign(element("input"), { type: "checkbox", checked: true });
  check.setAttribute("aria-label", `Use the face in ${file.name}`);
  label.append(box ? cutOut(file, box, `Face in ${file.name}`) : element("span", "cut-out"), check);
  label.title = file.name;
  item.append(label, element("span", "tile-name", file.name));
  return { item, check, file, face };
}

function enrolLine(subject, index) {
  const line = element("div", "row");
  const name = Object.assign(element("input"), { type: "text", maxLength: 256, required: true, autocomplete: "off", value: subject ?? "" });
  name.setAttribute("list", "names");
  name.setAttribute("aria-label", `Name of person ${index + 1}`);
  name.placeholder = "Name";
  const submit = button("Enrol as …", "small", () => {});
  submit.type = "submit";
  const relabel = () => (submit.textContent = `Enrol as ${name.value.trim() || "…"}`);
  name.addEventListener("input", relabel);
  relabel();
  line.append(name, submit);
  return line;
}

function outcomePlace() {
  const place = element("div", "outcome");
  place.setAttribute("role", "status");
  return place;
}

function setUpEnrolling(box, choices, collection) {
  let started = null;
  box.addEventListener("input", () => started?.end());
  onSubmit(box, async () => {
    const name = box.querySelector("input[type=text]").value.trim();
    const chosen = choices.filter(({ check }) => check.checked).map(({ file, face }) => ({ file, face }));
    if (!chosen.length) return [element("p", "refused", "Choose at least one face.")];
    const { verdict, list, ...rest } = startEnrolment({ path: collection.path, name }, chosen);
    ({ started } = rest);
    box.querySelector(".outcome").replaceChildren(verdict, list);
    await started.run();
    await loadSubjects();
    return [verdict, list];
  });
}
