/**
 * A volume as the node serves it: NIfTI-1 in patient axes. Here index is (slice, row, column): to the head, to the
 * back, to the patient's left; positions are LPS in mm, as everywhere in the node.
 */

const HEADER_BYTES = 352;
const ARRAYS = { 2: Uint8Array, 4: Int16Array };

export class Volume {
  /** @param {ArrayBuffer} buffer the file */
  constructor(buffer) {
    const header = new DataView(buffer, 0, HEADER_BYTES);
    const [columns, rows, slices] = [0, 1, 2].map((axis) => header.getInt16(42 + 2 * axis, true));
    this.buffer = buffer;
    this.shape = [slices, rows, columns];
    this.slope = header.getFloat32(112, true);
    this.voxels = new ARRAYS[header.getInt16(70, true)](buffer, HEADER_BYTES);
    const number = (row, column) => header.getFloat32(280 + 4 * (4 * row + column), true);
    const signs = [-1, -1, 1];
    this.affine = signs.map((sign, row) => [2, 1, 0, 3].map((column) => sign * number(row, column)));
    this.inverse = inverted(this.affine);
  }

  /** The value of the voxel nearest to a position, or undefined outside. */
  valueAt(mm) {
    const index = moved(this.inverse, mm).map(Math.round);
    if (index.some((at, axis) => at < 0 || at >= this.shape[axis])) return undefined;
    const [slice, row, column] = index;
    return this.voxels[(slice * this.shape[1] + row) * this.shape[2] + column] * this.slope;
  }
}

/** A 3x4 matrix times a point. */
export function moved(matrix, point) {
  return matrix.map((row) => row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3]);
}

/** The inverse of a 3x4 matrix. */
export function inverted(m) {
  const minor = (r, c) => {
    const [r1, r2] = [0, 1, 2].filter((row) => row !== r);
    const [c1, c2] = [0, 1, 2].filter((column) => column !== c);
    return (m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]) * ((r + c) % 2 ? -1 : 1);
  };
  const determinant = [0, 1, 2].reduce((sum, column) => sum + m[0][column] * minor(0, column), 0);
  return [0, 1, 2].map((row) => {
    const turned = [0, 1, 2].map((column) => minor(column, row) / determinant);
    const shift = -(turned[0] * m[0][3] + turned[1] * m[1][3] + turned[2] * m[2][3]);
    return [...turned, shift];
  });
}
