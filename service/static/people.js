// The page of people: compare two photos, enrol somebody from several, search, forget.

import { Problem, call, explain, model, useKey } from "./api.js";
import { element, oneIn, scale, thresholdMarks } from "./scale.js";

const $ = (id) => document.getElementById(id);
let collection = null; // the open one's path
let cursor = null; // where its listing goes on
let retry = null; // what was refused for want of a key

// ---- forms

/** On submit: the form is busy, `work` fills its outcome, a Problem is told there. */
function onSubmit(form, work) {
  const outcome = form.querySelector(".outcome") ?? $("opened");
  const run = async () => {
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    outcome.replaceChildren(element("p", "muted", "Working …"));
    try {
      outcome.replaceChildren(...(await work()));
    } catch (error) {
      outcome.replaceChildren(...told(error, run));
    } finally {
      button.disabled = false;
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run();
  });
}

function told(error, again) {
  const problem = error instanceof Problem ? error : new Problem({ detail: error.message });
  if (problem.status === 401) {
    retry = again;
    $("key-form").hidden = false;
    $("key").focus();
  }
  const { title, advice } = explain(problem);
  return [element("p", "refused", `${title}. ${advice}`), ...(problem.detail ? [element("p", "muted small", problem.detail)] : [])];
}

function formData(...files) {
  const body = new FormData();
  files.forEach((file, number) => body.append("photo", file, String(number))); // file names often hold people's
  return body;
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  retry?.();
  retry = null;
});

for (const side of document.querySelectorAll(".side")) {
  const [input, image] = [side.querySelector("input"), side.querySelector("img")];
  input.addEventListener("change", () => {
    URL.revokeObjectURL(image.src);
    image.hidden = !input.files.length;
    if (input.files.length) image.src = URL.createObjectURL(input.files[0]);
  });
  image.addEventListener("error", () => (image.hidden = true));
}

// ---- compare

onSubmit($("compare"), async () => {
  const answer = await call("v1/compare", { method: "POST", body: formData($("first").files[0], $("second").files[0]) });
  const words = answer.matched ? "Most likely one person" : "Not taken for one person";
  const verdict = element("p", "verdict", `${words}: similarity ${answer.similarity.toFixed(2)}`);
  verdict.dataset.matched = answer.matched;
  const share = `${(100 * answer.probability).toFixed(1)} %`;
  const meaning = `Threshold ${answer.threshold.toFixed(2)}, which ${oneIn(answer.far)} pairs of strangers reach. If half of all pairs asked about were one person, this would be one with ${share}.`;
  return [verdict, scale(answer.similarity, thresholdMarks(answer.thresholds), answer.threshold), element("p", "muted", meaning), ...doubts(answer.faces)];
});

function doubts(faces) {
  const reasons = [...new Set(faces.flatMap(({ quality }) => quality.reasons))];
  return reasons.length ? [element("p", "muted", `The photos could be better: ${reasons.join("; ")}.`)] : [];
}

// ---- a collection and its people

onSubmit($("open"), async () => {
  await openCollection();
  return [];
});

async function openCollection() {
  const path = `v1/collections/${encodeURIComponent($("collection").value.trim())}`;
  let found;
  try {
    found = await call(path);
  } catch (error) {
    if (error.code !== "collection_not_found") throw error;
    found = await call(path, { method: "PUT" });
  }
  collection = path;
  await list();
  return found;
}

async function list(more = false) {
  const page = await call(`${collection}/subjects?limit=50${more ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  cursor = page.cursor;
  const rows = page.subjects.map(row);
  if (more) $("subjects").append(...rows);
  else $("subjects").replaceChildren(...rows);
  $("more").hidden = !cursor;
  $("nobody").hidden = $("subjects").childElementCount > 0;
}

function row({ id, media }) {
  const item = element("li");
  const button = element("button", "button quiet", "Forget");
  button.type = "button";
  button.setAttribute("aria-label", `Forget ${id}`);
  button.addEventListener("click", () => void ask(id));
  item.append(element("span", "", id), element("span", "muted small", media.length === 1 ? "1 photo" : `${media.length} photos`), button);
  return item;
}

$("more").addEventListener("click", () => void list(true).catch((error) => $("opened").replaceChildren(...told(error, () => list(true)))));

async function ask(id) {
  const dialog = $("forget");
  $("forget-who").textContent = `${id} and every template of ${id} will be deleted from this server.`;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue === "forget") await forget(id);
}

async function forget(id) {
  try {
    const receipt = await call(`${collection}/subjects/${encodeURIComponent(id)}`, { method: "DELETE" });
    await list();
    $("opened").replaceChildren(element("span", "", `Forgotten, receipt ${receipt.receipt}.`));
  } catch (error) {
    $("opened").replaceChildren(...told(error, () => forget(id)));
  }
  $("collection").focus();
}

// ---- enrol and search

onSubmit($("enrol"), async () => {
  if (!collection) await openCollection();
  const files = [...$("photos").files];
  const path = `${collection}/subjects/${encodeURIComponent($("name").value.trim())}/media?create=true`;
  const answer = await call(path, { method: "POST", body: formData(...files) });
  $("photos").value = ""; // so that the next person does not get these
  await list();
  const taken = answer.photos.filter(({ error }) => !error).length;
  const lines = answer.photos.flatMap(({ error }, number) => (error ? [element("p", "refused", `${files[number].name}: ${error.detail}`)] : []));
  return [element("p", "verdict", `${taken} of ${files.length === 1 ? "1 photo" : `${files.length} photos`} enrolled`), ...lines];
});

onSubmit($("search"), async () => {
  if (!collection) await openCollection();
  const answer = await call(`${collection}/search?limit=5`, { method: "POST", body: formData($("probe").files[0]) });
  if (!answer.matches.length) return [element("p", "verdict", "Nobody is enrolled")];
  const matched = answer.matches.filter((match) => match.matched);
  const words = matched.length ? `Most likely ${matched[0].subject}` : "Nobody who is enrolled here";
  const verdict = element("p", "verdict", words);
  verdict.dataset.matched = matched.length > 0;
  const people = answer.gallery_size === 1 ? "1 person" : `${answer.gallery_size} people`;
  const matches = element("ol", "matches");
  matches.setAttribute("aria-label", "Most similar people");
  for (const { subject, similarity, threshold } of answer.matches) {
    const item = element("li", "", subject);
    item.append(scale(similarity, [{ value: threshold, label: `threshold for ${people}` }], threshold));
    matches.append(item);
  }
  return [verdict, matches, ...doubts(answer.faces)];
});

// ---- the server

async function meetServer() {
  try {
    const found = await model();
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
