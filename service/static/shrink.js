// Photos made smaller before they are sent, where there are many.

const LONGEST = 1600; // pixels
const QUALITY = 0.9;

/** The photo with at most so many pixels on its longer side, upright; as it is if the browser cannot read it. */
export async function shrunk(file) {
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) return file;
  const scale = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.round(image.width * scale), Math.round(image.height * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  return blob.size < file.size ? new File([blob], file.name, { type: "image/jpeg" }) : file;
}
