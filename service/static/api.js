// Talks to the server this page came from, and to no other. Paths are relative, so that pages work behind a path prefix.

const KEY = "api-key";

/** What went wrong: the server's problem document (RFC 9457), or one of ours for what happened on the way. */
export class Problem extends Error {
  constructor(document, retryAfter = null) {
    const { code = "internal_error", status = 0, title = "", detail = "", request_id = "" } = document;
    super(title || code);
    Object.assign(this, { code, status, detail, requestId: request_id, document, retryAfter });
  }

  /** A Problem for whatever was thrown. */
  static of(error) {
    return error instanceof Problem ? error : new Problem({ code: "page_failed", detail: error.message });
  }

  /** Busy or starting: the same request will do in a moment. */
  get isBusy() {
    return this.status === 429 || this.status === 503;
  }

  /** Not the photo's fault: the same request may do another time. */
  get mayPass() {
    return this.isBusy || [0, 401, 403, 408].includes(this.status) || this.status >= 500;
  }
}

/** The API key that requests carry. It stays in this tab and is forgotten with it. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY),
  set: (key) => sessionStorage.setItem(KEY, key),
  forget: () => sessionStorage.removeItem(KEY),
};

/** The JSON answer of a call. Throws Problem, or AbortError when `options.signal` says stop. */
export async function call(path, options = {}) {
  const response = await request(path, options);
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw problemOf(response, body ?? {});
}

/** The bytes of a call as a Blob. Throws Problem. */
export async function bytes(path) {
  const response = await request(path, {});
  if (response.ok) return await response.blob();
  throw problemOf(response, await response.json().catch(() => ({})));
}

/** The response of a call, whatever its status. Throws Problem when the server cannot be reached. */
export async function request(path, options) {
  const headers = { Accept: "application/json", ...options.headers };
  if (apiKey.get()) headers.Authorization = `Bearer ${apiKey.get()}`;
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "unreachable" });
  }
}

/** A form with photos as a request's body. Names of files often hold people's: they stay here. */
export function photoForm(...files) {
  const body = new FormData();
  files.forEach((file, number) => body.append("photo", file, String(number)));
  return body;
}

/** Options of a request that sends JSON. */
export function jsonBody(method, value) {
  return { method, body: JSON.stringify(value), headers: { "Content-Type": "application/json" } };
}

function problemOf(response, document) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  return new Problem({ code: "", ...document, status: response.status }, Number.isFinite(seconds) ? seconds : null);
}
