/** Outlines of labels in one slice of a label volume, along the borders between its voxels (marching squares). */

/** Segments of each cell of four voxels by which of them belong to the label: bits top left, top right, bottom right,
 * bottom left; sides 0 top, 1 right, 2 bottom, 3 left. */
const SEGMENTS = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], [[3, 0], [1, 2]], [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], [[0, 1], [2, 3]], [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];
const SIDE_X = [0.5, 1, 0.5, 0];
const SIDE_Y = [0, 0.5, 1, 0.5];

/** A slice across one axis: voxel (row v, column u) and how many there are. */
export function sliceOf(volume, axis, at) {
  const [slices, rows, columns] = volume.shape;
  const strides = [rows * columns, columns, 1];
  const [down, across] = [0, 1, 2].filter((other) => other !== axis);
  return {
    voxels: volume.voxels,
    start: at * strides[axis],
    stepV: strides[down],
    stepU: strides[across],
    sizeV: [slices, rows, columns][down],
    sizeU: [slices, rows, columns][across],
    isInside: at >= 0 && at < volume.shape[axis],
  };
}

/**
 * The outlines of labels as one path in index coordinates: x along columns of the slice, y along its rows.
 *
 * @param {object} slice from `sliceOf`
 * @param {number[]} labels whose outlines are wanted
 * @returns {Path2D}
 */
export function outlinesOf(slice, labels) {
  const path = new Path2D();
  if (!slice.isInside) return path;
  const wanted = new Uint8Array(256);
  for (const label of labels) wanted[label] = 1;
  const at = (v, u) => {
    if (v < 0 || u < 0 || v >= slice.sizeV || u >= slice.sizeU) return 0;
    const label = slice.voxels[slice.start + v * slice.stepV + u * slice.stepU];
    return wanted[label] ? label : 0;
  };
  for (let v = -1; v < slice.sizeV; v++) {
    let [topLeft, bottomLeft] = [0, 0];
    for (let u = -1; u < slice.sizeU; u++) {
      const [topRight, bottomRight] = [at(v, u + 1), at(v + 1, u + 1)];
      if (topLeft !== topRight || topLeft !== bottomLeft || topLeft !== bottomRight) {
        addCell(path, u, v, [topLeft, topRight, bottomRight, bottomLeft]);
      }
      [topLeft, bottomLeft] = [topRight, bottomRight];
    }
  }
  return path;
}

function addCell(path, u, v, corners) {
  for (const label of new Set(corners)) {
    if (!label) continue;
    const kind = corners.reduce((bits, corner, bit) => bits | (corner === label ? 1 << bit : 0), 0);
    for (const [from, to] of SEGMENTS[kind]) {
      path.moveTo(u + SIDE_X[from], v + SIDE_Y[from]);
      path.lineTo(u + SIDE_X[to], v + SIDE_Y[to]);
    }
  }
}

/** The middle of each label that covers at least so many voxels of a slice: `{label: [x, y]}` in index coordinates. */
export function middlesOf(slice, labels, least) {
  const sums = new Map(labels.map((label) => [label, [0, 0, 0]]));
  if (slice.isInside) {
    for (let v = 0; v < slice.sizeV; v++) {
      for (let u = 0; u < slice.sizeU; u++) {
        const sum = sums.get(slice.voxels[slice.start + v * slice.stepV + u * slice.stepU]);
        if (sum) {
          sum[0] += 1;
          sum[1] += u;
          sum[2] += v;
        }
      }
    }
  }
  const middles = {};
  for (const [label, [count, u, v]] of sums) if (count >= least) middles[label] = [u / count, v / count];
  return middles;
}
