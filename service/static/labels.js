// Where the labels of faces go: beside their boxes or on a corner, over no other face and no other label.

const GAP = 3;
const LARGE = 6; // a box of so many heights of its label has a corner to spare

/**
 * Rectangles for labels, in the order of the boxes; null where there is no room.
 * Boxes, bounds and results are {left, top, right, bottom}; sizes are {width, height}, one for each box.
 */
export function placeLabels(boxes, sizes, bounds) {
  const taken = boxes.filter((box) => overlap(box, bounds));
  return boxes.map((box, index) => {
    if (!overlap(box, bounds)) return null;
    const others = taken.filter((other) => other !== box);
    const isFree = (spot) => inside(spot, bounds) && !others.some((other) => overlap(spot, other));
    const found = [...beside(box, sizes[index]), ...onCorners(box, sizes[index], bounds)].find(isFree);
    if (found) taken.push(found);
    return found ?? null;
  });
}

/** Places outside of a box. */
function beside({ left, top, right, bottom }, size) {
  const above = top - GAP - size.height;
  const below = bottom + GAP;
  const starts = [left, right - size.width, (left + right - size.width) / 2];
  const spots = [...starts.map((x) => [x, above]), ...starts.map((x) => [x, below])];
  for (const y of [top, bottom - size.height]) spots.push([right + GAP, y], [left - GAP - size.width, y]);
  return spots.map(([x, y]) => rectangle(x, y, size));
}

/** Places on the corners of a box, where a face does not reach; inside it if it is much larger than its label. */
function onCorners({ left, top, right, bottom }, size, bounds) {
  const lefts = [left - 0.7 * size.width, right - 0.3 * size.width];
  const tops = [top - 0.7 * size.height, bottom - 0.3 * size.height];
  const spots = tops.flatMap((y) => lefts.map((x) => rectangle(x, y, size)));
  const isLarge = bottom - top >= LARGE * size.height;
  if (isLarge) spots.push(rectangle(Math.max(left, bounds.left) + GAP, Math.max(top, bounds.top) + GAP, size));
  return spots;
}

function rectangle(left, top, { width, height }) {
  return { left, top, right: left + width, bottom: top + height };
}

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function inside(a, b) {
  return a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;
}
