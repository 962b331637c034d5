// The camera dialog: one photo from the device's camera, as a File.

import { byId } from "./dom.js";

const dialog = byId("camera");
const view = byId("camera-view");
const shoot = byId("camera-shoot");
const trouble = byId("camera-problem");
let take = null; // gets the photo

/** Whether the browser gives this page a camera (it does on https and on localhost). */
export const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia);

/** Open the dialog and start the camera; `onPhoto` gets the photo as a File if one is taken. */
export async function openCamera(onPhoto) {
  take = onPhoto;
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

async function shot() {
  const canvas = new OffscreenCanvas(view.videoWidth, view.videoHeight);
  canvas.getContext("2d").drawImage(view, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
  dialog.close();
  const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
  take(new File([blob], `camera-${time}.jpg`, { type: "image/jpeg" }));
}

function stop() {
  view.srcObject?.getTracks().forEach((track) => track.stop());
  view.srcObject = null;
}

shoot.addEventListener("click", () => void shot());
byId("camera-close").addEventListener("click", () => dialog.close());
view.addEventListener("playing", () => (shoot.disabled = false));
dialog.addEventListener("close", stop);
