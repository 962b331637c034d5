// Which collection is open: chosen in a list, made in a step of its own, or named where the API key may not list them.

import { Problem, call, jsonBody } from "./api.js";
import { byId, element } from "./dom.js";
import { onSubmit, told } from "./forms.js";
import { onKeyChange } from "./key.js";

const REMEMBERED = "collection"; // in this tab
const NO_CHOICE = { needed: "An API key is needed to see the collections.", none: "There is no collection yet. Make one to enrol people." };

const choice = byId("collection");
const typed = byId("collection-name");
const listeners = [];
let collections = []; // {name, policy, current}
let damaged = []; // names of those that somebody changed in the store without the server
let mayList = false;

/** Call `listener(collection)` when another one is open, or null when none is. */
export function onCollection(listener) {
  listeners.push(listener);
}

/** The open collection: {name, path, policy, current, mayList}. Throws Problem when there is none. */
export function openCollection() {
  const name = mayList ? choice.value : typed.value.trim();
  if (!name) throw new Problem({ code: "no_collection" });
  return describe(name);
}

function describe(name) {
  const known = collections.find((each) => each.name === name);
  return { ...known, name, path: `v1/collections/${encodeURIComponent(name)}`, mayList };
}

/** Load the list of collections, and open the one that was open before, or the first. */
export async function loadCollections() {
  try {
    ({ collections, damaged } = await all());
    mayList = true;
    fill();
  } catch (error) {
    collections = [];
    damaged = [];
    mayList = false;
    explainRefusal(error);
  }
  showWays();
  changed();
}

async function all() {
  const found = { collections: [], damaged: [] };
  let cursor = null;
  do {
    const page = await call(`v1/collections?limit=1000${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    found.collections.push(...page.collections);
    found.damaged.push(...page.damaged);
    ({ cursor } = page);
  } while (cursor);
  found.collections.sort((a, b) => a.name.localeCompare(b.name));
  return found;
}

function fill() {
  choice.replaceChildren(...collections.map(({ name }) => new Option(name, name)));
  const before = sessionStorage.getItem(REMEMBERED);
  if (collections.some(({ name }) => name === before)) choice.value = before;
  byId("collection-words").textContent = collections.length ? "" : `${NO_CHOICE.none}${wordsOnDamage()}`;
  if (!collections.length) showMaking(true);
}

function explainRefusal(error) {
  const words = byId("collection-words");
  if (error.status === 401) words.textContent = NO_CHOICE.needed;
  else if (error.code === "forbidden") words.textContent = "This API key may not see who is enrolled. Enter the name of the collection to search.";
  else words.replaceChildren(...told(error));
  typed.dataset.usable = error.code === "forbidden";
}

function showWays() {
  const isNamed = !mayList && typed.dataset.usable === "true";
  choice.hidden = isNamed;
  choice.disabled = !mayList || !collections.length;
  typed.hidden = !isNamed;
  byId("collection-name-label").hidden = !isNamed;
  byId("make-open").hidden = !mayList;
}

function changed() {
  const name = mayList ? choice.value : typed.value.trim();
  if (mayList && name) sessionStorage.setItem(REMEMBERED, name);
  const open = name ? describe(name) : null;
  if (open && mayList) byId("collection-words").textContent = `${wordsOn(open)}${wordsOnDamage()}`;
  for (const listener of listeners) listener(open);
}

function wordsOn({ current, policy }) {
  const kept = policy.keep_photos ? "Templates and photos are kept, encrypted, on this server." : "Templates are kept, encrypted, on this server; photos are not.";
  return current ? kept : `${kept} The network has changed since: its people must be enrolled again.`;
}

function wordsOnDamage() {
  if (!damaged.length) return "";
  return ` Somebody deleted or changed without this server: ${damaged.join(", ")}. Ask who runs it.`;
}

// ---- making one

function showMaking(isOpen) {
  byId("make").hidden = !isOpen;
  byId("make-open").setAttribute("aria-expanded", String(isOpen));
}

async function make() {
  const name = byId("make-name").value.trim().normalize("NFC");
  if (collections.some((each) => each.name === name)) {
    return [element("p", "refused", `There is a collection '${name}' already; choose it in the list.`)];
  }
  await call(describe(name).path, jsonBody("PUT", { keep_photos: byId("make-photos").checked }));
  sessionStorage.setItem(REMEMBERED, name);
  byId("make").reset();
  showMaking(false);
  await loadCollections();
  choice.focus();
  return [];
}

/** Make the choice of a collection work; loads the list. */
export function setUpCollections() {
  choice.addEventListener("change", changed);
  typed.addEventListener("input", changed);
  byId("make-open").addEventListener("click", () => {
    showMaking(byId("make").hidden);
    if (!byId("make").hidden) byId("make-name").focus();
  });
  byId("make-close").addEventListener("click", () => {
    showMaking(false);
    byId("make-open").focus();
  });
  onSubmit(byId("make"), make);
  onKeyChange(() => void loadCollections());
  void loadCollections();
}
