// The faces beside the photo as cards, from the page's <template id="card">.

import { copyOf } from "./dom.js";
import { VISIBLE, drawThumb } from "./draw.js";

/** "36 years", "99 %", "−4°": as people read them. The exact value stays in the element's `value`. */
export const read = {
  years: (v) => `${Math.round(v)} years`,
  share: (v) => `${Math.round(v * 100)} %`,
  degrees: (v) => `${Math.round(v) < 0 ? "−" : ""}${Math.abs(Math.round(v))}°`,
};

/** "28–45", or nothing where the server gives no range. */
export function ageRange({ age_range: range }) {
  return range ? `${Math.round(range.low)}–${Math.round(range.high)}` : "";
}

/** A card for `faces[index]`; `image` is the loaded photo, or null when the browser cannot show it. */
export function makeCard(face, index, image, scale) {
  const card = copyOf("card");
  const find = (selector) => card.querySelector(selector);
  const put = (selector, value, text) => Object.assign(find(selector), { value, textContent: text });
  find(".card-name").textContent = `Face ${index + 1}`;
  put(".age", face.age, read.years(face.age));
  find(".age-range").textContent = ageRange(face) && `(most likely ${ageRange(face)})`;
  put(".gender", face.gender, face.gender);
  const share = face.gender === "female" ? face.female : 1 - face.female;
  put(".gender-share", face.female, read.share(share));
  put(".smile", face.smile, read.share(face.smile));
  find(".bar span").style.width = `${face.smile * 100}%`;
  for (const angle of ["roll", "pitch", "yaw"]) put(`.${angle}`, face.pose[angle], read.degrees(face.pose[angle]));
  put(".score", face.score, face.score.toFixed(3));
  find(".hidden-points").hidden = !face.landmarks;
  find(".hidden-points dd").textContent = hiddenPoints(face);
  if (face.occluded?.length) find(".covered-parts dd").textContent = face.occluded.join(", ");
  else find(".covered-parts").remove();
  const thumb = find(".thumb");
  thumb.setAttribute("aria-label", `Face ${index + 1}, cut out`);
  if (image) drawThumb(thumb, image, face.box, scale);
  return card;
}

function hiddenPoints({ landmarks = [] }) {
  const hidden = landmarks.filter(({ visibility }) => visibility < VISIBLE).length;
  return `${hidden} of ${landmarks.length}`;
}

/** One sentence for screen readers: "Face 1: female, 34 years, smiling". */
export function sentence(face, index) {
  return `Face ${index + 1}: ${face.gender}, ${read.years(face.age)}${face.smile >= 0.5 ? ", smiling" : ""}`;
}
