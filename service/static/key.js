// The API key form in the head of every page: is a key needed, is one set, is it valid, may it do what was asked.

import { apiKey, request } from "./api.js";
import { byId } from "./dom.js";

// state → [words in the header, words in the form]
const WORDS = {
  unknown: ["API key", "Whether this server asks for an API key is not known yet."],
  unneeded: ["No key needed", "This server asks for no API key."],
  needed: ["Key needed", "This server asks for an API key. Who runs it has one for you."],
  valid: ["Key set", "The API key is valid. It stays in this tab and is forgotten with it."],
  wrong: ["Key not valid", "The server does not know this API key, or it has expired. Enter another one."],
  lacking: ["Key may not do that", "The API key is valid, but may not do what was asked."],
};

const listeners = [];

/** Call `listener` whenever the key was changed or forgotten. */
export function onKeyChange(listener) {
  listeners.push(listener);
}

/** Show what a refusal says of the key, and open the form where another key would help. */
export function noticeRefusal({ status, code, detail }) {
  if (status === 401) show(apiKey.get() ? "wrong" : "needed");
  else if (code === "forbidden") show("lacking", detail);
  else return;
  byId("access").open = true;
  if (status === 401) byId("key").focus();
}

/** Ask the server whether it needs a key and whether it knows ours. */
export async function checkKey() {
  try {
    // any key may read the metrics, and nothing is stored or analyzed for them
    const { status } = await request("metrics", { method: "HEAD" });
    if (status === 200) show(apiKey.get() ? "valid" : "unneeded");
    else if (status === 401) show(apiKey.get() ? "wrong" : "needed");
    else show("unknown");
  } catch {
    show("unknown");
  }
}

function show(state, detail = "") {
  const [brief, words] = WORDS[state];
  byId("access").dataset.state = state;
  byId("access-state").textContent = brief;
  byId("access-words").textContent = detail ? `${words} The server says: ${detail}.` : words;
  byId("key-forget").hidden = !apiKey.get();
}

async function changed() {
  byId("key").value = "";
  await checkKey();
  if (byId("access").dataset.state === "wrong") return byId("key").focus();
  byId("access").open = false;
  byId("access-summary").focus();
  for (const listener of listeners) listener();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(byId("key").value.trim());
  void changed();
});
byId("key-forget").addEventListener("click", () => {
  apiKey.forget();
  void changed();
});
byId("access").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  byId("access").open = false;
  byId("access-summary").focus();
});
document.addEventListener("pointerdown", ({ target }) => {
  if (!byId("access").contains(target)) byId("access").open = false;
});
