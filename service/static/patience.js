// Asks a busy server again, after the time it names.

import { explain } from "./words.js";

const TRIES = 6;

/**
 * The result of `work`, which is tried again while the server is busy. `onWait` gets words to show while it waits.
 * Throws what the last try threw, or AbortError when the signal says stop.
 */
export async function patiently(work, signal, onWait = () => {}) {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!error.isBusy || tries === TRIES) throw error;
      const seconds = Math.max(1, error.retryAfter ?? 2 ** tries);
      onWait(`${explain(error).title}; trying again in ${seconds} s …`);
      await pause(seconds, signal);
    }
  }
}

/** Waits. Throws AbortError when the signal says stop. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal?.addEventListener("abort", stop, { once: true });
  });
}
