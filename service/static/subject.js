// One person of the list, opened: the photos, is this really them, another name, forget.

import { bytes, call, jsonBody, photoForm } from "./api.js";
import { confirmed } from "./confirm.js";
import { button, byId, copyOf, element } from "./dom.js";
import { onSubmit, told } from "./forms.js";
import { patiently } from "./patience.js";
import { cutOut } from "./pictures.js";
import { verdictOf } from "./verdict.js";
import { Well } from "./wells.js";

/** Fill an opened row; `reload` is called when the person was changed. */
export function fillSubject(body, collection, subject, reload) {
  const person = { id: subject.id, path: `${collection.path}/subjects/${encodeURIComponent(subject.id)}`, reload };
  body.replaceChildren(...copyOf("subject-actions").children);
  const media = body.querySelector(".media");
  media.setAttribute("aria-label", `Photos of ${subject.id}`);
  media.append(...subject.media.map((medium, index) => mediumItem(person, medium, index)));
  setUpVerify(body, person);
  setUpRename(body, person);
  const forget = body.querySelector(".forget");
  forget.textContent = `Forget ${subject.id}`;
  forget.addEventListener("click", () => void forgetPerson(person));
}

// ---- photos

function mediumItem(person, { id, quality, added, used, photo, frames }, index) {
  const item = element("li", "medium");
  const name = `${frames > 1 ? "Video" : "Photo"} ${index + 1}`;
  const words = element("div", "medium-words");
  words.append(element("p", "", name), element("p", "muted small", `quality ${Math.round(quality * 100)} %, ${new Date(added * 1000).toLocaleDateString()}`));
  if (!used) words.append(element("p", "refused small", "unlike the others, not used"));
  const remove = button("Delete", "small", () => void deleteMedium(person, id, name));
  remove.setAttribute("aria-label", `Delete ${name.toLowerCase()} of ${person.id}`);
  item.append(photo ? keptPhoto(person, id, name) : element("span", "no-photo muted small", "not kept"), words, remove);
  return item;
}

function keptPhoto(person, id, name) {
  const image = element("img", "cut-out");
  image.alt = `${name} of ${person.id}`;
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  void bytes(`${person.path}/media/${encodeURIComponent(id)}/photo`).then((blob) => (image.src = URL.createObjectURL(blob))).catch(() => {});
  return image;
}

async function deleteMedium(person, id, name) {
  const words = `It is deleted from this server, and ${person.id} is recognised by the other photos only.`;
  if (!(await confirmed({ title: `Delete ${name.toLowerCase()} of ${person.id}?`, words, action: `Delete ${name.toLowerCase()}` }))) return;
  await change(person, () => call(`${person.path}/media/${encodeURIComponent(id)}`, { method: "DELETE" }), () => `${name} of ${person.id} is deleted.`);
}

// ---- is this really them

function setUpVerify(body, person) {
  const form = body.querySelector(".verify");
  const well = new Well(form.querySelector(".well"));
  well.label(`A photo to compare with ${person.id}`);
  form.setAttribute("aria-label", `Is this ${person.id}?`);
  form.querySelector("[type=submit]").textContent = `Is this ${person.id}?`;
  onSubmit(form, async (signal) => {
    if (!well.require()) return [];
    const [file] = well.files;
    const send = () => call(`${person.path}/verify`, { method: "POST", body: photoForm(file), signal });
    const answer = await patiently(send, signal);
    const words = { yes: `Most likely ${person.id}`, no: `Not taken for ${person.id}` };
    return [...answer.faces.map(({ box }) => cutOut(file, box, `The face compared in ${file.name}`)), ...verdictOf(answer, words)];
  });
}

// ---- another name

function setUpRename(body, person) {
  const form = body.querySelector(".rename");
  form.setAttribute("aria-label", `Rename ${person.id}`);
  onSubmit(form, async () => {
    const name = form.querySelector("input").value.trim();
    await call(`${person.path}/rename`, jsonBody("POST", { name }));
    await person.reload();
    say(`${person.id} is called ${name} now.`);
    byId("find").focus();
    return [];
  });
}

// ---- forget

async function forgetPerson(person) {
  const words = `All photos and templates of ${person.id} are deleted from this collection. This cannot be undone.`;
  if (!(await confirmed({ title: `Forget ${person.id}?`, words, action: `Forget ${person.id}` }))) return;
  await change(person, () => call(person.path, { method: "DELETE" }), ({ receipt }) => `${person.id} is forgotten, receipt ${receipt}.`);
}

async function change(person, work, words) {
  try {
    const answer = await work();
    await person.reload();
    say(words(answer));
  } catch (error) {
    byId("listed").replaceChildren(...told(error));
  }
  byId("find").focus();
}

function say(words) {
  byId("listed").prepend(element("p", "done", words));
}
