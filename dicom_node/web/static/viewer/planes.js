/** The three planes, and where their pixels lie in the patient. */

import { moved } from "./volume.js";

/** `axis` is the one of (slice, row, column) that the plane cuts; `coordinate` the one of (x, y, z) along it. */
export const PLANES = {
  axial: { title: "Axial", axis: 0, coordinate: 2, name: "z" },
  coronal: { title: "Coronal", axis: 1, coordinate: 1, name: "y" },
  sagittal: { title: "Sagittal", axis: 2, coordinate: 0, name: "x" },
};

/** The letter of the patient direction that a vector in LPS points to most (PS3.3 C.7.6.1.1.1). */
export function letterOf(vector) {
  const sizes = vector.map(Math.abs);
  const axis = sizes.indexOf(Math.max(...sizes));
  return [["R", "L"], ["A", "P"], ["F", "H"]][axis][vector[axis] > 0 ? 1 : 0];
}

/** A plane on the screen: `rect` in pixels of the canvas, `origin` the LPS position of its top left corner, `across` and
 * `down` the steps to the next pixel in mm. */
export class Tile {
  constructor(plane, rect, origin, across, down) {
    Object.assign(this, { plane, rect, origin, across, down });
  }

  /** LPS position of a pixel of the canvas. */
  positionOf(x, y) {
    const [left, top] = this.rect;
    return this.origin.map((start, k) => start + (x - left) * this.across[k] + (y - top) * this.down[k]);
  }

  /** Pixel of the canvas nearest to an LPS position. */
  pixelOf(mm) {
    const [left, top] = this.rect;
    const from = mm.map((value, k) => value - this.origin[k]);
    return [left + along(from, this.across), top + along(from, this.down)];
  }

  contains(x, y) {
    const [left, top, width, height] = this.rect;
    return x >= left && x < left + width && y >= top && y < top + height;
  }

  get mmPerPixel() {
    return Math.hypot(...this.across);
  }

  /** Letters at the left, right, top and bottom edge. */
  get letters() {
    const back = (vector) => vector.map((part) => -part);
    return [back(this.across), this.across, back(this.down), this.down].map(letterOf);
  }

  /** The matrix that takes index coordinates (x, y) of a slice of a volume to pixels of the canvas. */
  matrixFor(volume, at) {
    const { axis } = PLANES[this.plane];
    const [down, across] = [0, 1, 2].filter((other) => other !== axis);
    const pixel = (u, v) => {
      const index = [0, 0, 0];
      [index[axis], index[down], index[across]] = [at, v, u];
      return this.pixelOf(moved(volume.affine, index));
    };
    const [[x, y], [ux, uy], [vx, vy]] = [pixel(0, 0), pixel(1, 0), pixel(0, 1)];
    return new DOMMatrix([ux - x, uy - y, vx - x, vy - y, x, y]);
  }
}

function along(vector, step) {
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  return dot(vector, step) / dot(step, step);
}
