/** Where the planes lie on the canvas, and what is in the middle of each at first. */

import { PLANES } from "./planes.js";
import { moved } from "./volume.js";

const MARGIN_MM = 15;
const NARROW = 1.05;

/**
 * Places of the planes in pixels: the large one first.
 *
 * @param {string} plane the large one
 * @param {boolean} isAlone whether only that one is shown
 */
export function places(plane, isAlone, width, height) {
  if (isAlone) return [{ plane, rect: [0, 0, width, height] }];
  const others = Object.keys(PLANES).filter((other) => other !== plane);
  if (width < NARROW * height) {
    const [top, half] = [Math.round(0.64 * height), Math.floor(width / 2)];
    return [
      { plane, rect: [0, 0, width, top] },
      { plane: others[0], rect: [0, top, half, height - top] },
      { plane: others[1], rect: [half, top, width - half, height - top] },
    ];
  }
  const [left, half] = [Math.round(0.64 * width), Math.floor(height / 2)];
  return [
    { plane, rect: [0, 0, left, height] },
    { plane: others[0], rect: [left, 0, width - left, half] },
    { plane: others[1], rect: [left, half, width - left, height - half] },
  ];
}

/** What each plane is to show: the lungs, as large as they fit; `zoom` and `shift` (LPS mm) are of the person. */
export function framed(tiles, box, zoom, shift) {
  return tiles.map(({ plane, rect }) => {
    const { axis } = PLANES[plane];
    const [down, across] = [0, 1, 2].filter((other) => other !== axis);
    const sizeMm = (k) => box.sizeMm[k] + 2 * MARGIN_MM;
    const mmPerPixel = Math.max(sizeMm(across) / rect[2], sizeMm(down) / rect[3]) / zoom;
    return { plane, rect, middle: box.middle.map((mm, k) => mm + shift[k]), mmPerPixel };
  });
}

/** Middle and size of the part of a grid between two voxels. */
export function boxOf(grid, first, last) {
  const length = (axis) => Math.hypot(...[0, 1, 2].map((row) => grid.affine[row][axis]));
  return {
    middle: moved(grid.affine, first.map((from, axis) => (from + last[axis]) / 2)),
    sizeMm: first.map((from, axis) => (last[axis] - from + 1) * length(axis)),
  };
}
