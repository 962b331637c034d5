// The form that enrols a person from any number of photos.

import { onCollection, openCollection } from "./collection.js";
import { byId, counted, element } from "./dom.js";
import { onSubmit } from "./forms.js";
import { Enrolment } from "./enrolling.js";
import { loadSubjects } from "./subjects.js";
import { Well } from "./wells.js";

let enrolment = null; // whose photos stand in the outcome

/** Make the form for enrolling work. */
export function setUpEnrol() {
  const well = new Well(byId("enrol-photos"));
  const stop = () => {
    const unsent = enrolment?.end() ?? [];
    enrolment = null;
    well.add(unsent);
  };
  onSubmit(byId("enrol"), async () => {
    if (!well.require()) return [];
    const { path } = openCollection();
    const files = [...well.files];
    well.clear(); // so that the next person does not get these
    return await enrolAll({ path, name: byId("name").value.trim() }, files.map((file) => ({ file })));
  });
  byId("enrol").addEventListener("input", stop);
  onCollection(stop);
}

async function enrolAll(target, photos) {
  const { verdict, list, started } = startEnrolment(target, photos);
  enrolment = started;
  byId("enrol").querySelector(".outcome").replaceChildren(verdict, list);
  await started.run();
  await loadSubjects();
  return [verdict, list];
}

/** Begin to enrol photos, [{file, face}]: a line that counts them, their list, and the Enrolment to be run. */
export function startEnrolment(target, photos) {
  const verdict = element("p", "verdict");
  const list = element("ul", "entries");
  list.setAttribute("aria-label", `Photos of ${target.name}`);
  const started = new Enrolment(target, (each) => {
    verdict.textContent = `${each.count("stored")} of ${counted(each.entries.length, "photo")} enrolled as ${target.name}`;
    if (!each.isRunning) void loadSubjects(); // a question was answered
  });
  list.append(...photos.map(({ file, face }) => started.add(file, face)));
  return { verdict, list, started };
}
