// A similarity on a line from −1 to 1, with the thresholds as marks.

import { element } from "./dom.js";

const PLACES = 2;

/** How often a rate is: "1 in 1,000". */
export function oneIn(rate) {
  return `1 in ${Math.round(1 / rate).toLocaleString("en")}`;
}

/** An element that shows where a similarity stands among [{value, label}], accepted from `threshold` on. */
export function scale(similarity, marks, threshold) {
  const root = element("div", "scale");
  root.setAttribute("role", "img");
  const named = marks.map(({ value, label }) => `${value.toFixed(PLACES)}: ${label}`).join("; ");
  root.setAttribute("aria-label", `Similarity ${similarity.toFixed(PLACES)} on a scale from −1 to 1. Marks: ${named}.`);
  root.append(element("div", "line"), placed("accepted", threshold));
  [...marks].sort((a, b) => a.value - b.value).forEach(({ value, label }, row) => {
    const mark = placed("mark", value);
    mark.style.setProperty("--row", row);
    mark.append(element("span", "", label));
    root.append(mark);
  });
  const dot = placed("value", similarity);
  dot.append(element("span", "", similarity.toFixed(PLACES)));
  root.append(dot);
  return root;
}

/** The marks of the 1:1 thresholds in an answer. */
export function thresholdMarks(thresholds) {
  return Object.entries(thresholds).map(([rate, value]) => ({ value, label: `strangers: ${oneIn(Number(rate))}` }));
}

function placed(kind, value) {
  const made = element("div", kind);
  made.style.setProperty("--at", `${50 + 50 * Math.min(1, Math.max(-1, value))}%`);
  return made;
}
