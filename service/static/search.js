// Who is everybody in a photo?

import { call, photoForm } from "./api.js";
import { openCollection } from "./collection.js";
import { byId, counted, element } from "./dom.js";
import { onSubmit } from "./forms.js";
import { patiently } from "./patience.js";
import { cutOut, photoWithFaces } from "./pictures.js";
import { scale } from "./scale.js";
import { doubts } from "./verdict.js";
import { Well } from "./wells.js";

const CANDIDATES = 3; // most similar people that are shown of each face

/** Make the form for searching everybody in a photo work. */
export function setUpSearch() {
  const well = new Well(byId("search-photo"));
  onSubmit(byId("search"), async (signal) => {
    if (!well.require()) return [];
    const { path } = openCollection();
    const [file] = well.files;
    const answer = await patiently(() => searchFaces(path, file, signal), signal);
    return outcomeOf(file, answer);
  });
}

/** Search a collection for all faces of a photo. */
export async function searchFaces(path, file, signal) {
  return await call(`${path}/search?face=all&limit=${CANDIDATES}`, { method: "POST", body: photoForm(file), signal });
}

/** The name of the person whom a face of a search matches, or null. */
export function nameOf({ matches }) {
  return matches.find(({ matched }) => matched)?.subject ?? null;
}

function outcomeOf(file, { faces, gallery_size: people, more }) {
  if (!people) return [element("p", "verdict", "Nobody is enrolled in this collection")];
  const boxes = faces.map((face) => ({ box: face.box, label: nameOf(face) ?? "unknown", isKnown: Boolean(nameOf(face)) }));
  const list = element("ol", "matches");
  list.setAttribute("aria-label", "Faces in the photo, the largest first");
  list.append(...faces.map((face, index) => faceItem(file, face, index, people)));
  const rest = more ? [element("p", "muted", "The photo shows more faces than are searched at a time; the smallest are left out.")] : [];
  return [summary(faces, people), photoWithFaces(file, boxes), list, ...rest];
}

function summary(faces, people) {
  const names = faces.map(nameOf).filter(Boolean);
  const inAll = `looked for among ${counted(people, "person", "people")}`;
  const one = names.length ? `Most likely ${names[0]}` : "Nobody who is enrolled here";
  const words = faces.length === 1 ? one : `${names.length} of ${faces.length} faces are known`;
  const line = element("p", "verdict", words);
  line.dataset.matched = names.length > 0;
  line.append(element("span", "muted small aside", `, ${inAll}`));
  return line;
}

function faceItem(file, face, index, people) {
  const item = element("li", "match");
  const name = nameOf(face);
  const heading = element("p", "match-name", name ?? "Not known here");
  heading.dataset.matched = Boolean(name);
  const candidates = face.matches.map(({ subject, similarity, threshold }) => {
    const row = element("div", "candidate");
    const label = `threshold for ${counted(people, "person", "people")}`;
    row.append(element("p", "candidate-name", subject), scale(similarity, [{ value: threshold, label }], threshold));
    return row;
  });
  const more = element("details", "candidates");
  more.append(element("summary", "", "Similarities"), ...candidates);
  const words = element("div", "match-words");
  words.append(heading, ...(candidates.length ? [more] : []), ...doubts([face]));
  item.append(cutOut(file, face.box, `Face ${index + 1}: ${name ?? "not known here"}`), words);
  return item;
}
