// Marks pictures that the browser cannot show (HEIC, files that are no photos), so that no sign of a broken picture is shown.

const mark = (isUnseen) => ({ target }) => {
  if (target instanceof HTMLImageElement) target.classList.toggle("unseen", isUnseen);
};

document.addEventListener("error", mark(true), true); // neither event bubbles
document.addEventListener("load", mark(false), true);
