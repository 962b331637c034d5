"""Scenes with a known number of faces, from photos that scikit-image and scikit-learn package."""

import cv2
import numpy as np
import skimage.data
import sklearn.datasets

HEAD = (slice(28, 228), slice(130, 330))  # a square of the astronaut's photo; her face takes about half of its side
SIZES = ((320, 240), (640, 480), (1280, 960), (1920, 1080))
COUNTS = (0, 1, 2, 4, 8)
GRIDS = {0: (1, 1), 1: (1, 1), 2: (2, 1), 4: (2, 2), 8: (4, 2)}


def scene(width, height, faces, seed=0):
    """RGB [height, width, 3]: one person's head on a photo, `faces` times, each turned, lit and mirrored anew."""
    rng = np.random.default_rng(seed)
    canvas = _background(width, height, seed)
    columns, rows = GRIDS[faces]
    cell = np.array([width / columns, height / rows])
    side = round(0.85 * min(cell.min(), 0.6 * height))
    for index in range(faces):
        centre = cell * (index % columns + 0.5, index // columns + 0.5) + rng.uniform(-0.05, 0.05, 2) * cell
        _paste(canvas, _head(side, rng), centre)
    return canvas


def jpeg(image, quality=90):
    """The scene as a client would send it."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _background(width, height, seed):
    photos = [*sklearn.datasets.load_sample_images().images, skimage.data.coffee(), skimage.data.rocket()]
    photo = photos[seed % len(photos)]
    scale = max(width / photo.shape[1], height / photo.shape[0])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.ascontiguousarray(photo[:height, :width])


def _head(side, rng):
    head = skimage.data.astronaut()[HEAD]
    if rng.random() < 0.5:
        head = head[:, ::-1]
    head = np.clip(head * rng.uniform(0.75, 1.15), 0, 255).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((100, 100), rng.uniform(-12, 12), side / 200)
    turn[:, 2] += side / 2 - 100
    return cv2.warpAffine(head, turn, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)


def _paste(canvas, head, centre):
    side = len(head)
    x, y = (np.clip(np.round(centre - side / 2), 0, np.array(canvas.shape[1::-1]) - side)).astype(int)
    canvas[y : y + side, x : x + side] = head
