// The outcome of a comparison 1:1 in words and on the scale.

import { element } from "./dom.js";
import { oneIn, scale, thresholdMarks } from "./scale.js";

/** Elements that tell whether it is the same person; without scores where the API key may not see them. */
export function verdictOf(answer, { yes, no }) {
  const { matched, similarity, probability, threshold, thresholds, far, faces } = answer;
  const isScored = similarity !== null && similarity !== undefined;
  const words = element("p", "verdict", (matched ? yes : no) + (isScored ? `: similarity ${similarity.toFixed(2)}` : ""));
  words.dataset.matched = matched;
  const scores = isScored ? [scale(similarity, thresholdMarks(thresholds), threshold), element("p", "muted", meaning(threshold, far, probability))] : [];
  return [words, ...scores, ...doubts(faces)];
}

function meaning(threshold, far, probability) {
  const share = `${(100 * probability).toFixed(1)} %`;
  return `The threshold is ${threshold.toFixed(2)}, which ${oneIn(far)} pairs of strangers reach. If half of all compared pairs showed the same person, this pair would do so with a probability of ${share}.`;
}

/** A line on what is wrong with the faces that were compared, if anything is. */
export function doubts(faces) {
  const reasons = [...new Set(faces.flatMap(({ quality }) => quality.reasons))];
  return reasons.length ? [element("p", "muted", `The photos could be better: ${reasons.join("; ")}.`)] : [];
}
