// The header's word on the server: is it ready, which network answers, what are its limits.

import { call } from "./api.js";
import { byId } from "./dom.js";
import { explain } from "./words.js";

const RETRY_SECONDS = 3;

/** The limits that the server named: max_bytes, max_pixels, max_images, max_request_bytes. Empty until it answered. */
export const limits = {};

let timer = null; // of the next time that the server is asked

/** Ask the server until it is ready, and show it. */
export async function meetServer() {
  clearTimeout(timer);
  try {
    const model = await call("v1/model");
    Object.assign(limits, model.limits);
    show("ready", "Ready");
    byId("model").hidden = false;
    byId("digest").textContent = model.digest.slice(0, 12);
    byId("digest").title = model.digest;
  } catch (error) {
    show("waiting", explain(error).title);
    clearTimeout(timer);
    timer = setTimeout(meetServer, RETRY_SECONDS * 1000);
  }
}

function show(state, words) {
  byId("service").dataset.state = state;
  byId("service").title = words;
  byId("service-text").textContent = words;
}
