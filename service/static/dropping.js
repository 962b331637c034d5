// Photos that are dropped on the page or pasted into it.

/** Call `take(files, target)` with what is dropped or pasted; `onDrag` is told whether files are over the page. */
export function onPhotos(take, onDrag = () => {}) {
  let depth = 0; // of elements dragged over
  const dragged = (step) => (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    depth += step;
    onDrag(depth > 0, event.target);
  };
  document.addEventListener("dragenter", dragged(1));
  document.addEventListener("dragover", dragged(0));
  document.addEventListener("dragleave", dragged(-1));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    onDrag(false, event.target);
    const isFile = (item) => item.kind === "file" && !item.webkitGetAsEntry()?.isDirectory;
    const files = [...event.dataTransfer.items].filter(isFile).map((item) => item.getAsFile());
    if (files.length) take(files, event.target);
  });
  document.addEventListener("paste", ({ clipboardData, target }) => {
    if (clipboardData.files.length) take([...clipboardData.files], target);
  });
}
