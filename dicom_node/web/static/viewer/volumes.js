/** Volumes on the stage: fetched, drawn by niivue, with marks over them. The coarse ones come first. */

import { boxOf, framed, places } from "./layout.js";
import { Marks } from "./marks.js";
import { Mouse } from "./mouse.js";
import { fetchedVolume } from "./node.js";
import { readout } from "./readout.js";
import { inverted, moved } from "./volume.js";

/** With less memory, or without a graphics processor, the whole volumes come only when they are asked for. */
const LITTLE_MEMORY_GIB = 4;

export class Volumes {
  /**
   * @param {Panel} panel
   * @param {object} facts of the view
   * @param {Scene} scene which may be opening already
   * @param {Promise<Volume>} ct the coarse one, which may be on its way already
   */
  constructor(panel, facts, scene, ct) {
    this.panel = panel;
    this.facts = facts;
    this.scene = scene;
    this.ct = ct;
    this.inverse = inverted(facts.grid.affine);
    this.volumes = {};
    this.tiles = [];
    this.isCoarse = facts.is_coarse_needed;
    this.marks = new Marks(panel.part("marks"), facts);
    const { result, grid } = facts;
    const last = grid.shape.map((size) => size - 1);
    this.box = result ? boxOf(grid, result.lung_first, result.lung_last) : boxOf(grid, [0, 0, 0], last);
  }

  async open() {
    const [ct] = await Promise.all([this.ct, this.scene.isOpen]);
    this.volumes.ct = ct;
    this.fit();
    await this.scene.show(ct, null, this.panel.look.window, 0);
    this.isOpen = true;
    this.draw(this.panel.look);
    this.tellFirst();
    new Mouse(this.panel.stage, this);
    new ResizeObserver(() => this.fit() && this.redraw(this.panel.look)).observe(this.panel.stage);
    this.scene.setColours(this.facts.colours, this.facts.map_range);
    if (this.facts.result) await this.openResult();
    this.tellResolution();
    const hasRoom = (navigator.deviceMemory ?? Infinity) > LITTLE_MEMORY_GIB;
    if (hasRoom && !this.scene.isSoftware) await this.drawWhole();
    this.panel.section.dataset.ready = "all";
  }

  async openResult() {
    this.volumes.map = await this.volume("map-coarse");
    const { window, threshold } = this.panel.look;
    await this.scene.show(this.volumes.ct, this.volumes.map, window, threshold);
    this.redraw(this.panel.look);
    for (const name of ["lobes", "function"]) {
      this.volumes[name] = await this.volume(name);
      this.marks.setVolume(name, this.volumes[name]);
      this.redraw(this.panel.look);
    }
  }

  /** Fetch and show the volumes as they are. */
  async drawWhole() {
    if (!this.isCoarse) return;
    this.panel.control("whole").hidden = true;
    this.panel.show("resolution", "Fetching the whole CT …");
    const [ct, map] = await Promise.all([this.volume("ct"), this.facts.result ? this.volume("map") : null]);
    const { window, threshold } = this.panel.look;
    await this.scene.show(ct, map, window, threshold);
    Object.assign(this.volumes, { ct, map }, { isWhole: true });
    this.isCoarse = false;
    this.redraw(this.panel.look);
    this.tellResolution();
  }

  tellFirst() {
    this.panel.say("");
    this.panel.section.dataset.ready = "ct";
    this.panel.section.dataset.firstImageMs = Math.round(performance.now());
  }

  tellResolution() {
    this.panel.show("resolution", this.isCoarse ? "Shown coarsely; numbers are means of neighbours (≈)." : "");
    this.panel.control("whole").hidden = !this.isCoarse;
  }

  volume(name) {
    return fetchedVolume(this.facts.case_id, name);
  }

  /** Draw soon: many changes within one frame of the screen are one drawing. */
  redraw(look) {
    this.wanted = look;
    if (!this.isOpen || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw(this.wanted);
    });
  }

  draw(look) {
    const { width, height } = this.panel.part("marks");
    const at = moved(this.facts.grid.affine, look.index);
    this.scene.setWindow(look.window);
    this.scene.setThreshold(look.threshold);
    this.scene.setOpacity(look.map ? look.opacity : 0);
    const tiles = framed(places(look.plane, look.alone, width, height), this.box, look.zoom, look.shift);
    this.tiles = this.scene.draw(tiles, at);
    this.marks.draw(this.tiles, { ...look, at, scale: this.scale });
    this.panel.showLetters(this.tiles);
    this.panel.showReadout(readout(at, this.volumes, this.facts, this.isCoarse));
    this.panel.section.dataset.drawn = Number(this.panel.section.dataset.drawn ?? 0) + 1;
  }

  /** Give both canvases the size of the stage; whether that was new. */
  fit() {
    const { stage } = this.panel;
    this.scale = Math.min(globalThis.devicePixelRatio || 1, 2);
    const [width, height] = [stage.clientWidth, stage.clientHeight].map((size) => Math.round(size * this.scale));
    const canvases = ["volumes", "marks"].map((name) => this.panel.part(name));
    if (!width || !height || canvases.every((canvas) => canvas.width === width && canvas.height === height)) return false;
    for (const canvas of canvases) Object.assign(canvas, { width, height });
    return true;
  }

  tileAt(x, y) {
    return this.tiles.find((tile) => tile.contains(x * this.scale, y * this.scale));
  }

  pointAt(tile, x, y) {
    return tile.positionOf(x * this.scale, y * this.scale);
  }

  /** Index of the voxel at a place of the stage; along the axis that the plane cuts it stays. */
  indexAt(tile, x, y) {
    const index = moved(this.inverse, this.pointAt(tile, x, y)).map(Math.round);
    return index.map((at, axis) => Math.min(Math.max(at, 0), this.facts.grid.shape[axis] - 1));
  }
}
