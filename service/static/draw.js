// Draws faces over a photo. Coordinates of faces are pixels of the upright photo, `scale` takes them to the canvas.

/** Below this a landmark counts as hidden. */
export const VISIBLE = 0.5;

// Landmarks joined by a line, as places in the answer's list of 21.
const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [13, 14, 15], [17, 18, 19]];

const INK = "#ffffff";
const LIT = "#ffd84d";
const SHADE = "rgb(0 0 0 / 55%)";
const AXES = { x: "#ff7b72", y: "#7ee787", z: "#79b8ff" };

/**
 * Draw every face; `lit` is the index of the one to bring out, or null.
 * `show` = {boxes, landmarks, pose}. The context is in CSS pixels, and cleared by the caller.
 */
export function drawFaces(context, faces, scale, show, lit) {
  context.lineCap = context.lineJoin = "round";
  const order = [...faces.keys()].filter((i) => i !== lit);
  if (lit !== null) order.push(lit); // on top
  for (const i of order) {
    const face = faces[i];
    const color = i === lit ? LIT : INK;
    context.globalAlpha = lit === null || i === lit ? 1 : 0.4;
    if (show.boxes) drawBox(context, face.box, scale, color, String(i + 1));
    if (show.landmarks && face.landmarks) drawLandmarks(context, face.landmarks, scale, color);
    if (show.pose) drawPose(context, face, scale);
  }
  context.globalAlpha = 1;
}

function drawBox(context, box, scale, color, name) {
  const [x, y, width, height] = [box.x, box.y, box.width, box.height].map((v) => v * scale);
  const path = new Path2D();
  path.roundRect(x, y, width, height, Math.min(10, width / 8));
  stroke(context, path, color, 2);
  context.font = "600 13px system-ui, sans-serif";
  const [wide, high] = [context.measureText(name).width + 12, 20];
  const bounds = context.canvas.getBoundingClientRect();
  const left = Math.min(Math.max(x, 0), bounds.width - wide);
  const top = y - high - 3 >= 0 ? y - high - 3 : Math.max(y, 0) + 3;
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(left, top, wide, high, 6);
  context.fill();
  context.fillStyle = "#1a1a1a";
  context.textBaseline = "middle";
  context.fillText(name, left + 6, top + high / 2 + 1);
}

function drawLandmarks(context, landmarks, scale, color) {
  const alpha = context.globalAlpha;
  const radius = Math.min(3, Math.max(1.2, reach(landmarks) * scale * 0.012));
  const lines = new Path2D();
  for (const line of LINES) {
    line.forEach((place, step) => {
      const { x, y } = landmarks[place];
      lines[step ? "lineTo" : "moveTo"](x * scale, y * scale);
    });
  }
  context.globalAlpha = alpha * 0.5;
  context.lineWidth = Math.max(0.8, radius * 0.5);
  context.strokeStyle = color;
  context.stroke(lines);
  for (const { x, y, visibility } of landmarks) {
    const dot = new Path2D();
    dot.arc(x * scale, y * scale, radius, 0, 2 * Math.PI);
    context.globalAlpha = visibility < VISIBLE ? alpha * 0.35 : alpha;
    stroke(context, dot, visibility < VISIBLE ? color : SHADE, 1);
    if (visibility < VISIBLE) continue; // a ring only
    context.fillStyle = color;
    context.fill(dot);
  }
  context.globalAlpha = alpha;
}

function reach(landmarks) {
  const ys = landmarks.map(({ y }) => y);
  return Math.max(...ys) - Math.min(...ys);
}

function drawPose(context, face, scale) {
  const { box, landmarks } = face;
  const nose = landmarks?.find(({ name }) => name === "nose_tip");
  const [x, y] = [(nose?.x ?? box.x + box.width / 2) * scale, (nose?.y ?? box.y + box.height / 2) * scale];
  const length = Math.min(box.width, box.height) * scale * 0.45;
  for (const [name, [dx, dy]] of Object.entries(poseAxes(face.pose))) {
    const path = new Path2D();
    path.moveTo(x, y);
    path.lineTo(x + dx * length, y + dy * length);
    stroke(context, path, AXES[name], 2.5);
  }
}

/**
 * Ends of the head's axes, of unit length in space, seen in the photo's plane: x to the photo's right, y down, z out of the
 * nose. The head is turned by pitch (up), then yaw (to the photo's right), then roll (clockwise).
 */
export function poseAxes({ roll, pitch, yaw }) {
  const [r, p, w] = [roll, pitch, yaw].map((degrees) => (degrees * Math.PI) / 180);
  const turn = ([x, y]) => [x * Math.cos(r) - y * Math.sin(r), x * Math.sin(r) + y * Math.cos(r)];
  return {
    x: turn([Math.cos(w), 0]),
    y: turn([Math.sin(w) * Math.sin(p), Math.cos(p)]),
    z: turn([Math.sin(w) * Math.cos(p), -Math.sin(p)]),
  };
}

/** Cut a face, with a margin, into a square canvas. `scale` takes the answer's pixels to the image's. */
export function drawThumb(canvas, image, box, scale) {
  const side = Math.max(box.width, box.height) * 1.3 * scale;
  const [x, y] = [(box.x + box.width / 2) * scale - side / 2, (box.y + box.height / 2) * scale - side / 2];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, side, side, 0, 0, canvas.width, canvas.height);
}

function stroke(context, path, color, width) {
  context.strokeStyle = SHADE;
  context.lineWidth = width + 2;
  context.stroke(path);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke(path);
}
