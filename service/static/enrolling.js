// One photo on its way into a collection: refused, a choice of face, a conflict with another person, or stored.

import { Problem, call, photoForm } from "./api.js";
import { button, element } from "./dom.js";
import { told } from "./forms.js";
import { patiently } from "./patience.js";
import { cutOut, photoWithFaces, wholePhoto } from "./pictures.js";
import { nameOf, searchFaces } from "./search.js";

/** How photos become media of one person: `target` = {path of the collection, name}. `onChange` is called at each turn. */
export class Enrolment {
  constructor(target, onChange) {
    this.target = target;
    this.onChange = onChange;
    this.accepted = new Set(); // people with whom conflicts were accepted
    this.stop = new AbortController();
    this.isRunning = false;
    this.entries = []; // {file, face, state: waiting | working | stored | asking | refused | left, item}
  }

  /** How many photos are in a state. */
  count(state) {
    return this.entries.filter((entry) => entry.state === state).length;
  }

  /** Send no further photo; returns those that were not sent. */
  end() {
    this.stop.abort();
    return this.entries.filter(({ state }) => state === "waiting" || state === "working").map(({ file }) => file);
  }

  /** Add a photo and which of its faces is meant ('only', or a number from 0); returns its list item. */
  add(file, face = "only") {
    const item = element("li", "entry");
    this.entries.push({ file, face, state: "waiting", item });
    show(item, file, [element("p", "muted", "Waiting …")]);
    return item;
  }

  /** Send all photos, one after the other. */
  async run() {
    this.isRunning = true;
    for (const entry of this.entries) {
      if (!this.stop.signal.aborted) await this.#send(entry);
    }
    this.isRunning = false;
  }

  async #send(entry, onConflict = "refuse") {
    const { file, face, item } = entry;
    this.#turn(entry, "working", [element("p", "muted", "Enrolling …")]);
    try {
      const answer = await patiently(() => this.#post(file, face, onConflict), this.stop.signal);
      this.#stored(entry, answer);
    } catch (error) {
      if (this.stop.signal.aborted) return;
      if (error.code === "several_faces") await this.#chooseFace(entry, error);
      else if (error.code === "identity_conflict") await this.#askConflict(entry, error);
      else this.#turn(entry, "refused", [...told(error), ...this.#retry(entry, error, onConflict)]);
      if (entry.state === "asking") item.querySelector("button")?.scrollIntoView({ block: "nearest" });
    }
  }

  /** A button for what may go well another time, like a photo that was refused for want of an API key. */
  #retry(entry, error, onConflict) {
    return Problem.of(error).mayPass ? [button("Try again", "small", () => void this.#send(entry, onConflict))] : [];
  }

  async #post(file, face, onConflict) {
    const { path, name } = this.target;
    const options = new URLSearchParams({ create: "true", face, on_conflict: onConflict });
    const body = photoForm(file);
    return await call(`${path}/subjects/${encodeURIComponent(name)}/media?${options}`, { method: "POST", body, signal: this.stop.signal });
  }

  #stored(entry, answer) {
    const [{ box, quality, medium }] = answer.photos;
    const words = [element("p", "done", `Enrolled, quality ${Math.round(quality.overall * 100)} %`)];
    if (answer.outliers?.some((outlier) => outlier.medium === medium)) {
      words.push(element("p", "refused", `This face is unlike the other photos of ${this.target.name}. Is it the same person?`));
    }
    entry.state = "stored";
    entry.item.replaceChildren(cutOut(entry.file, box, `The enrolled face in ${entry.file.name}`), wordsOf(entry.file, words));
    this.onChange(this);
  }

  async #chooseFace(entry, error) {
    const faces = await this.#facesIn(entry.file, error);
    if (!faces.length) return this.#turn(entry, "refused", told(error));
    const boxes = faces.map(({ box, name }, index) => ({ box, label: name ?? `Face ${index + 1}`, isKnown: Boolean(name) }));
    const pick = (index) => {
      entry.face = index;
      void this.#send(entry);
    };
    const question = element("p", "question", `There are several faces. Which one is ${this.target.name}?`);
    const none = button("None of them", "small", () => this.#leave(entry));
    this.#turn(entry, "asking", [question, photoWithFaces(entry.file, boxes, pick), none]);
  }

  /** The faces of a photo: from a search, which may know their names, or else from the refusal. */
  async #facesIn(file, { document }) {
    try {
      const { faces } = await searchFaces(this.target.path, file, this.stop.signal);
      return faces.map((face) => ({ box: face.box, name: nameOf(face) }));
    } catch { // the key may not search, or nothing is calibrated
      return (document.boxes ?? []).map((box) => ({ box, name: null }));
    }
  }

  async #askConflict(entry, error) {
    const others = await this.#whoElse(entry);
    if (others.length && others.every((name) => this.accepted.has(name))) return await this.#send(entry, "ignore");
    const { name } = this.target;
    const whose = others.length ? `This face is enrolled as ${others.join(" and ")} already.` : told(error)[0].textContent;
    const anyway = button(`Enrol as ${name} anyway`, "small", () => {
      for (const other of others) this.accepted.add(other);
      void this.#send(entry, "ignore");
    });
    const answers = element("div", "buttons");
    answers.append(anyway, button("Leave this photo out", "small", () => this.#leave(entry)));
    this.#turn(entry, "asking", [element("p", "question", whose), element("p", "muted", "Nothing was stored."), answers]);
  }

  async #whoElse({ file, face }) {
    try {
      const { faces } = await searchFaces(this.target.path, file, this.stop.signal);
      const found = faces[face === "only" ? 0 : face];
      const names = found.matches.filter(({ matched, subject }) => matched && subject !== this.target.name);
      return names.map(({ subject }) => subject);
    } catch {
      return []; // the key may not search
    }
  }

  #leave(entry) {
    this.#turn(entry, "left", [element("p", "muted", "Left out")]);
  }

  #turn(entry, state, words) {
    entry.state = state;
    show(entry.item, entry.file, words);
    this.onChange(this);
  }
}

function show(item, file, words) {
  item.replaceChildren(wholePhoto(file), wordsOf(file, words));
}

function wordsOf(file, words) {
  const made = element("div", "entry-words");
  made.append(element("p", "file-name", file.name), ...words);
  return made;
}
