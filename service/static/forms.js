// Forms whose outcome stands below them, and goes as soon as what was entered changes.

import { Problem } from "./api.js";
import { byId, element } from "./dom.js";
import { noticeRefusal, onKeyChange } from "./key.js";
import { meetServer } from "./server.js";
import { explain } from "./words.js";

const running = new Map(); // form → AbortController of its work
let refused = null; // what a refusal for want of a key left undone

/**
 * On submit `work(signal)` runs and returns the elements of the outcome; a Problem is told there. Any input into the
 * form stops it and clears the outcome: a result never stands beside something else than it is about.
 */
export function onSubmit(form, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(form, work);
  });
  form.addEventListener("input", () => clearOutcome(form));
}

/** Stop what a form is doing and clear its outcome. */
export function clearOutcome(form) {
  running.get(form)?.abort();
  running.delete(form);
  if (refused?.form === form) refused = null;
  form.querySelector(".outcome").replaceChildren();
  mark(form, false);
}

/** What to show of an error: what happened, what to do about it, and the server's own words. */
export function told(error) {
  const problem = Problem.of(error);
  noticeRefusal(problem);
  if (problem.code === "unreachable") void meetServer();
  const { title, advice } = explain(problem);
  const detail = problem.detail && problem.detail !== problem.message ? [element("p", "muted small", problem.detail)] : [];
  return [element("p", "refused", `${title}. ${advice}`), ...detail];
}

async function run(form, work) {
  if (running.has(form)) return;
  const stop = new AbortController();
  const outcome = form.querySelector(".outcome");
  running.set(form, stop);
  mark(form, true);
  outcome.replaceChildren(element("p", "muted", "Working …"));
  try {
    const result = await work(stop.signal);
    if (!stop.signal.aborted) outcome.replaceChildren(...result);
  } catch (error) {
    if (stop.signal.aborted) return; // by another input
    outcome.replaceChildren(...told(error));
    if (error.status === 401 || error.code === "forbidden") refused = { form, work };
  } finally {
    if (running.get(form) === stop) {
      running.delete(form);
      mark(form, false);
    }
  }
}

function mark(form, isBusy) {
  form.classList.toggle("busy", isBusy);
  form.querySelector("[type=submit]").disabled = isBusy;
}

onKeyChange(() => {
  const again = refused;
  refused = null;
  if (again && byId(again.form.id)) void run(again.form, again.work);
});
