// The camera dialog: one photo from the device's camera, as a File.

const dialog = document.getElementById("camera");
const view = document.getElementById("camera-view");
const shoot = document.getElementById("camera-shoot");
const trouble = document.getElementById("camera-problem");

/** Whether the browser gives this page a camera (it does on https and on localhost). */
export const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia);

/** Wire the dialog's buttons; `take` gets each photo as a File. */
export function onCamera(take) {
  shoot.addEventListener("click", async () => {
    const canvas = new OffscreenCanvas(view.videoWidth, view.videoHeight);
    canvas.getContext("2d").drawImage(view, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
    dialog.close();
    const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    take(new File([blob], `camera-${time}.jpg`, { type: "image/jpeg" }));
  });
  document.getElementById("camera-close").addEventListener("click", () => dialog.close());
  view.addEventListener("playing", () => (shoot.disabled = false));
  dialog.addEventListener("close", stop);
}

/** Open the dialog and start the camera; says in the dialog why it cannot. */
export async function openCamera() {
  trouble.textContent = "";
  shoot.disabled = true;
  dialog.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
    view.srcObject = stream;
    if (!dialog.open) stop(); // closed while the browser was asking
  } catch (error) {
    trouble.textContent = error.name === "NotAllowedError" ? "The camera was not allowed." : "No camera can be opened.";
  }
}

function stop() {
  view.srcObject?.getTracks().forEach((track) => track.stop());
  view.srcObject = null;
}
