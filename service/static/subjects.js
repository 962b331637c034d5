// The list of the people in the open collection: sorted, searchable, in parts.

import { call } from "./api.js";
import { onCollection } from "./collection.js";
import { byId, copyOf, counted, element } from "./dom.js";
import { told } from "./forms.js";
import { fillSubject } from "./subject.js";

const SHOWN = 50; // rows at a time
const PAGE = 1000; // people that one request lists

const ORDERS = {
  name: (a, b) => a.id.localeCompare(b.id),
  newest: (a, b) => b.created - a.created,
  photos: (a, b) => b.media.length - a.media.length || a.id.localeCompare(b.id),
};

let collection = null; // the open one, or null
let subjects = []; // as the API lists them
let damaged = [];
let cursor = null; // where the list goes on; null when all people are loaded
let shown = SHOWN;

/** Make the list work. */
export function setUpSubjects() {
  onCollection((open) => {
    collection = open;
    byId("find").value = "";
    void loadSubjects();
  });
  byId("find").addEventListener("input", restart);
  byId("find").addEventListener("change", () => void fetchNamed());
  byId("order").addEventListener("change", restart);
  byId("more").addEventListener("click", showMore);
  byId("next-part").addEventListener("click", () => void loadNextPart());
}

/** Load the list anew. Nothing is said of it before it is there. */
export async function loadSubjects() {
  const asked = collection;
  byId("enrolled").hidden = !asked?.mayList;
  if (!asked?.mayList) return clear();
  if (byId("enrolled").dataset.of !== asked.name) {
    clear();
    byId("listed").textContent = "Loading …";
  }
  try {
    const found = await part(asked, null);
    if (collection !== asked) return;
    ({ subjects, damaged, cursor } = found);
    byId("enrolled").dataset.of = asked.name;
    render();
  } catch (error) {
    if (collection !== asked) return;
    clear();
    byId("listed").replaceChildren(...told(error));
  }
}

/** So many people as the section's data-part says, from a place in the list on. */
async function part({ path }, from) {
  const size = Number(byId("enrolled").dataset.part);
  const found = { subjects: [], damaged: [], cursor: from };
  do {
    const limit = Math.min(PAGE, size - found.subjects.length);
    const page = await call(`${path}/subjects?limit=${limit}${found.cursor ? `&cursor=${encodeURIComponent(found.cursor)}` : ""}`);
    found.subjects.push(...page.subjects);
    found.damaged.push(...page.damaged);
    found.cursor = page.cursor;
  } while (found.cursor && found.subjects.length < size);
  return found;
}

async function loadNextPart() {
  await extend((asked) => part(asked, cursor), (found) => ({ cursor } = found));
}

/** Fetch the person whose whole name was entered, if more people are enrolled than are loaded. */
async function fetchNamed() {
  const name = byId("find").value.trim().normalize("NFC");
  if (!cursor || !name || subjects.some(({ id }) => id === name)) return;
  await extend(async ({ path }) => ({ subjects: [await call(`${path}/subjects/${encodeURIComponent(name)}`)], damaged: [] }));
}

/** Add what `find` finds to the people that are loaded, unless another collection was opened meanwhile. */
async function extend(find, keep = () => {}) {
  const asked = collection;
  try {
    const found = await find(asked);
    if (collection !== asked) return;
    keep(found);
    const known = new Set(subjects.map(({ id }) => id));
    subjects.push(...found.subjects.filter(({ id }) => !known.has(id)));
    damaged.push(...found.damaged);
    render();
  } catch (error) {
    if (collection === asked && error.code !== "subject_not_found") byId("listed").replaceChildren(...told(error));
  }
}

function clear() {
  subjects = [];
  damaged = [];
  cursor = null;
  delete byId("enrolled").dataset.of;
  byId("subjects").replaceChildren();
  byId("names").replaceChildren();
  byId("listed").replaceChildren();
  byId("finder").hidden = true;
  byId("more").hidden = true;
  byId("next-part").hidden = true;
}

function restart() {
  shown = SHOWN;
  render();
}

function showMore() {
  const before = byId("subjects").childElementCount;
  shown += SHOWN;
  render();
  byId("subjects").children[before]?.querySelector("summary").focus();
}

function render() {
  const wanted = byId("find").value.trim().toLocaleLowerCase();
  const fitting = subjects.filter(({ id }) => id.toLocaleLowerCase().includes(wanted)).sort(ORDERS[byId("order").value]);
  const open = new Set([...byId("subjects").querySelectorAll("details[open]")].map(({ dataset }) => dataset.name));
  byId("subjects").replaceChildren(...fitting.slice(0, shown).map((subject) => row(subject, open)));
  byId("more").hidden = fitting.length <= shown;
  byId("next-part").hidden = !cursor || fitting.length > shown;
  byId("finder").hidden = !subjects.length;
  byId("listed").replaceChildren(...summary(fitting.length, wanted));
  byId("names").replaceChildren(...subjects.slice(0, 1000).map(({ id }) => new Option(id)));
}

function summary(fitting, wanted) {
  if (!subjects.length && !damaged.length) return ["Nobody yet."];
  const all = `${counted(subjects.length, "person", "people")}${cursor ? " of more; those whose whole name you enter are found, too" : ""}`;
  const lost = damaged.map((name) => element("p", "refused", `What is stored of ${name} is damaged.`));
  return [wanted ? `${fitting} of ${all}` : all, ...lost];
}

function row(subject, open) {
  const item = copyOf("subject");
  const details = item.querySelector("details");
  details.dataset.name = subject.id;
  item.querySelector(".subject-name").textContent = subject.id;
  item.querySelector(".subject-count").textContent = counted(subject.media.length, "photo");
  const fill = () => {
    const body = item.querySelector(".subject-body");
    if (details.open && !body.childElementCount) fillSubject(body, collection, subject, loadSubjects);
  };
  details.addEventListener("toggle", fill);
  details.open = open.has(subject.id);
  return item;
}
