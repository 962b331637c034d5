// Asks before something is deleted.

import { byId } from "./dom.js";

/** Ask in a dialog; resolves to whether the button with the name of the action was pressed. */
export async function confirmed({ title, words, action }) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-words").textContent = words;
  byId("confirm-yes").textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}
