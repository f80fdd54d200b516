/** What lies over the volumes: letters, cross-hair, outlines, names of lobes, scale bar; on a canvas of its own. */

import { middlesOf, outlinesOf, sliceOf } from "./outlines.js";
import { PLANES } from "./planes.js";
import { moved } from "./volume.js";

export const LOW = 1;
export const HIGH = 2;
const COLOURS = {
  lobe: "rgba(198, 212, 224, 0.75)",
  [LOW]: "#3fd2ff",
  [HIGH]: "#ffffff",
  cross: "rgba(140, 214, 160, 0.85)",
  letter: "#e8edf2",
  caption: "#aeb9c4",
  research: "#f0b35a",
  edge: "#2a323b",
  chosenEdge: "#6f8fae",
};
const LOBE_NAME_VOXELS = 400;
const BAR_MM = 50;
/** Of a tile, in CSS pixels. */
const [VERY_NARROW, NARROW] = [260, 420];
/** On a wider stage the words of the page lie over the corner of the large plane. */
const NARROW_STAGE = 700;

export class Marks {
  constructor(canvas, facts) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.facts = facts;
    this.volumes = {};
    this.known = new Map();
  }

  /** Volumes `lobes` and `function`, when they have come. */
  setVolume(name, volume) {
    this.volumes[name] = volume;
    this.known.clear();
  }

  /**
   * Draw everything anew.
   *
   * @param {Tile[]} tiles the first one is the large one
   * @param {object} look `at` (LPS mm), `index`, `lobes`, `regions`, `scale` (pixels of the canvas per CSS pixel)
   */
  draw(tiles, look) {
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    tiles.forEach((tile, number) => this.drawTile(tile, look, number === 0));
  }

  drawTile(tile, look, isLarge) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(...tile.rect);
    context.clip();
    if (look.lobes) this.drawLobes(tile, look, isLarge);
    if (look.regions) this.drawRegions(tile, look);
    this.drawCross(tile, look);
    this.drawWords(tile, look, isLarge);
    context.restore();
    context.lineWidth = look.scale;
    context.strokeStyle = isLarge ? COLOURS.chosenEdge : COLOURS.edge;
    const [left, top, width, height] = tile.rect;
    context.strokeRect(left + 0.5 * look.scale, top + 0.5 * look.scale, width - look.scale, height - look.scale);
  }

  drawLobes(tile, look, isLarge) {
    const volume = this.volumes.lobes;
    if (!volume) return;
    const labels = this.facts.lobes.map(({ label }) => label);
    const { path, middles, matrix } = this.cut(volume, "lobes", tile, look, labels);
    this.stroke(path, matrix, COLOURS.lobe, look.scale);
    if (!isLarge) return;
    for (const { label, name } of this.facts.lobes) {
      if (!(label in middles)) continue;
      const { x, y } = matrix.transformPoint(new DOMPoint(...middles[label]));
      this.write(name, x, y, 11 * look.scale, COLOURS.caption, "center");
    }
  }

  drawRegions(tile, look) {
    const volume = this.volumes.function;
    if (!volume) return;
    for (const label of [LOW, HIGH]) {
      const { path, matrix } = this.cut(volume, `function${label}`, tile, look, [label]);
      this.stroke(path, matrix, COLOURS[label], 1.25 * look.scale);
    }
  }

  /** Outlines of labels in the slice of a tile; those of the last slices are kept, because three planes share a move. */
  cut(volume, name, tile, look, labels) {
    const { axis } = PLANES[tile.plane];
    const at = Math.round(moved(volume.inverse, look.at)[axis]);
    const key = `${name}/${axis}/${at}`;
    if (!this.known.has(key)) {
      if (this.known.size > 60) this.known.clear();
      const slice = sliceOf(volume, axis, at);
      this.known.set(key, { path: outlinesOf(slice, labels), middles: middlesOf(slice, labels, LOBE_NAME_VOXELS) });
    }
    return { ...this.known.get(key), matrix: tile.matrixFor(volume, at) };
  }

  stroke(path, matrix, colour, width) {
    const drawn = new Path2D();
    drawn.addPath(path, matrix);
    Object.assign(this.context, { strokeStyle: colour, lineWidth: width, lineCap: "round", lineJoin: "round" });
    this.context.stroke(drawn);
  }

  drawCross(tile, look) {
    const [x, y] = tile.pixelOf(look.at);
    const [left, top, width, height] = tile.rect;
    const gap = 7 * look.scale;
    const lines = new Path2D();
    for (const [x1, y1, x2, y2] of [
      [left, y, x - gap, y],
      [x + gap, y, left + width, y],
      [x, top, x, y - gap],
      [x, y + gap, x, top + height],
    ]) {
      lines.moveTo(x1, y1);
      lines.lineTo(x2, y2);
    }
    this.stroke(lines, new DOMMatrix(), COLOURS.cross, look.scale);
  }

  drawWords(tile, look, isLarge) {
    const [left, top, width, height] = tile.rect;
    const size = (isLarge ? 15 : 12) * look.scale;
    const inset = 12 * look.scale;
    const { title, coordinate, name } = PLANES[tile.plane];
    const [west, east, north, south] = tile.letters;
    this.write(west, left + inset, top + height / 2, size, COLOURS.letter, "center", 600);
    this.write(east, left + width - inset, top + height / 2, size, COLOURS.letter, "center", 600);
    const besides = width < NARROW * look.scale ? 16 * look.scale : 0; // no room beside the other words
    this.write(north, left + width / 2, top + inset + size / 4 + besides, size, COLOURS.letter, "center", 600);
    this.write(south, left + width / 2, top + height - inset - besides, size, COLOURS.letter, "center", 600);
    const place = `${name} = ${look.at[coordinate].toFixed(1).replace("-", "−")} mm`;
    const caption = width < VERY_NARROW * look.scale ? place : `${title}  ${place}`;
    this.write(caption, left + inset, top + inset + 4 * look.scale, 12 * look.scale, COLOURS.caption, "left");
    if (!isLarge || this.canvas.width < NARROW_STAGE * look.scale) {
      const [x, y] = [left + inset, top + height - inset];
      this.write(this.facts.qualification, x, y, 10 * look.scale, COLOURS.research, "left", 600);
    }
    if (isLarge) this.drawBar(tile, look);
  }

  drawBar(tile, look) {
    const [left, top, width, height] = tile.rect;
    const length = BAR_MM / tile.mmPerPixel;
    const [x, y] = [left + width - length - 14 * look.scale, top + height - 14 * look.scale];
    const bar = new Path2D();
    bar.moveTo(x, y);
    bar.lineTo(x + length, y);
    this.stroke(bar, new DOMMatrix(), COLOURS.caption, 2 * look.scale);
    this.write(`${BAR_MM} mm`, x + length / 2, y - 10 * look.scale, 11 * look.scale, COLOURS.caption, "center");
  }

  write(text, x, y, size, colour, align, weight = 400) {
    const { context } = this;
    context.font = `${weight} ${size}px system-ui, sans-serif`;
    Object.assign(context, { textAlign: align, textBaseline: "middle", lineJoin: "round", lineWidth: size / 4 });
    context.strokeStyle = "rgba(0, 0, 0, 0.8)";
    context.strokeText(text, x, y);
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }
}
