// The page of people: search, enrol, sort, compare, and the list of who is enrolled.

import { onCollection, setUpCollections } from "./collection.js";
import { setUpCompare } from "./compare.js";
import { byId } from "./dom.js";
import { setUpEnrol } from "./enrol.js";
import { clearOutcome } from "./forms.js";
import { checkKey } from "./key.js";
import { setUpPile } from "./pile.js";
import { setUpSearch } from "./search.js";
import { meetServer } from "./server.js";
import { setUpSubjects } from "./subjects.js";
import "./unseen.js";

setUpCompare();
setUpEnrol();
setUpPile();
setUpSearch();
setUpSubjects();
for (const form of ["search", "enrol", "pile"]) onCollection(() => clearOutcome(byId(form)));
setUpCollections();
void meetServer();
void checkKey();
