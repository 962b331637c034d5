// Are two photos of the same person?

import { call, photoForm } from "./api.js";
import { byId, element } from "./dom.js";
import { onSubmit } from "./forms.js";
import { patiently } from "./patience.js";
import { cutOut } from "./pictures.js";
import { verdictOf } from "./verdict.js";
import { Well } from "./wells.js";

const WORDS = { yes: "Most likely the same person", no: "Not taken for the same person" };

/** Make the form for comparing two photos work. */
export function setUpCompare() {
  const first = new Well(byId("compare-first"));
  const second = new Well(byId("compare-second"));
  onSubmit(byId("compare"), async (signal) => {
    if (!first.require() || !second.require()) return [];
    const files = [first.files[0], second.files[0]];
    const send = () => call("v1/compare", { method: "POST", body: photoForm(...files), signal });
    const answer = await patiently(send, signal);
    const pair = element("div", "cut-outs");
    pair.append(...answer.faces.map(({ box }, index) => cutOut(files[index], box, `The face compared in ${files[index].name}`)));
    return [pair, ...verdictOf(answer, WORDS)];
  });
}
