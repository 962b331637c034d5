// Talks to the server this page came from, and to no other.

const KEY = "api-key";

/** What went wrong: the server's problem document (RFC 9457), or one of ours for what happened on the way. */
export class Problem extends Error {
  constructor({ code = "internal_error", status = 0, title = "", detail = "", request_id = "" }, retryAfter = null) {
    super(title || code);
    Object.assign(this, { code, status, detail, requestId: request_id, retryAfter });
  }

  /** Busy or starting: the same request will do in a moment. */
  get isBusy() {
    return this.status === 429 || this.status === 503;
  }

  /** Not the photo's fault: the same request may do another time. */
  get mayPass() {
    return this.isBusy || this.status === 0 || this.status === 408 || this.status >= 500;
  }
}

// code → [what happened, what to do about it]
const WORDS = {
  not_an_image: ["Not a photo", "This file is not an image of a known format. JPEG, PNG, WebP, BMP, GIF and AVIF are."],
  unsupported_content_type: ["Not a photo", "The server does not take files of this kind."],
  image_broken: ["The photo is damaged", "The file cannot be decoded; it may be cut short. Save it again, or choose another copy."],
  no_image: ["The file is empty", "There is nothing in it to look at."],
  body_too_large: ["The file is too large", "Save the photo with fewer pixels or a stronger compression."],
  image_too_large: ["The photo has too many pixels", "Scale it down and try again."],
  too_many_images: ["Too many photos at once", "Send fewer in one request."],
  upload_timeout: ["The upload took too long", "The connection may be slow; try again."],
  queue_full: ["The server is busy", "More photos are waiting than it takes in."],
  not_ready: ["The server is not ready", "No worker is running yet; it may still be loading the network."],
  deadline_exceeded: ["It took too long", "The server gave up waiting for the result; it may be under load."],
  analysis_failed: ["The analysis failed", "The network failed on this photo. The server's log has the reason."],
  queue_locked: ["The server's queue cannot be opened", "A worker lacks its key; ask who runs this server."],
  worker_lost: ["The analysis failed", "The server lost a worker over this photo; it may be damaged."],
  no_face: ["No face was found", "Choose a photo where the face is larger or clearer."],
  several_faces: ["There are several faces", "Choose a photo of one person."],
  low_quality: ["The photo is not good enough", "Choose a sharper, larger, brighter or more frontal one."],
  not_calibrated: ["The network is not calibrated", "Nothing tells what its similarities mean; ask who runs this server."],
  model_mismatch: ["The collection belongs to another network", "Its people must be enrolled again."],
  collection_not_found: ["No such collection", "Somebody may have deleted it."],
  subject_not_found: ["No such person", "Somebody may have deleted them."],
  no_template: ["No photo is enrolled yet", "Enrol one first."],
  storage_full: ["The server's disk is full", "Nothing was lost; ask who runs this server."],
  storage_unavailable: ["The server's storage cannot be reached", "Try again; ask who runs this server."],
  vault_locked: ["The stored data cannot be opened", "The master key is another; ask who runs this server."],
  unauthorized: ["An API key is needed", "Give one on the page People; who runs this server has it."],
  forbidden: ["This API key may not do that", "Ask for one with another role."],
  foreign_host: ["Not allowed", "Without API keys this server answers to its own machine only."],
  rate_limited: ["Too many requests", "This API key was used too often; wait a moment."],
  invalid_name: ["The name is not valid", "It has 1 to 256 bytes and no control characters."],
  unreachable: ["The server cannot be reached", "Check that it is running and that you are connected."],
};

const BY_STATUS = {
  401: ["Not allowed", "This server asks for a key."],
  403: ["Not allowed", "This server does not let you do this."],
  413: WORDS.body_too_large,
  415: WORDS.not_an_image,
  422: ["The request is not valid", "The server cannot work with it as it is."],
  429: WORDS.queue_full,
  502: WORDS.unreachable,
  503: WORDS.not_ready,
  504: WORDS.deadline_exceeded,
};

/** {title, advice} in plain words for a Problem. */
export function explain(problem) {
  const [title, advice] = WORDS[problem.code] ?? BY_STATUS[problem.status] ?? ["The server failed", "Its log has the reason."];
  return { title, advice };
}

/** Send this API key from now on; it is forgotten with the tab. */
export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** The answer of any call. Throws Problem. */
export async function call(path, options = {}) {
  return await answer(await request(path, options));
}

/** The server's model and limits. Throws Problem. */
export async function model() {
  return await answer(await request("v1/model", {}));
}

/** Faces of one photo: {width, height, faces, model, timings_ms}. Throws Problem, or AbortError when told to stop. */
export async function analyze(file, signal) {
  const body = new FormData();
  body.append("image", file, file.name);
  return await answer(await request("v1/faces", { method: "POST", body, signal }));
}

async function request(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { Accept: "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "unreachable" });
  }
}

async function answer(response) {
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  const { code = "", detail = "", request_id = "" } = body ?? {};
  throw new Problem({ code, status: response.status, detail, request_id }, Number.isFinite(seconds) ? seconds : null);
}
