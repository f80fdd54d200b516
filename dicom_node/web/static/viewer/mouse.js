/** Mouse, pen and fingers on the stage. */

const WINDOW_HU_PER_PIXEL = 4;

export class Mouse {
  /**
   * @param {HTMLElement} stage
   * @param {object} target `tileAt(x, y)` in CSS pixels, `pointAt(tile, x, y, isSnapped)`, and the `panel`
   */
  constructor(stage, target) {
    this.stage = stage;
    this.target = target;
    this.fingers = new Map();
    stage.addEventListener("pointerdown", (event) => this.onDown(event));
    stage.addEventListener("pointermove", (event) => this.onMove(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.onUp(event));
    stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dblclick", (event) => this.onDoubleClick(event));
  }

  place(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
  }

  onDown(event) {
    const tile = this.target.tileAt(...this.place(event));
    if (!tile) return;
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.place(event));
    const { panel } = this.target;
    const act = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "shift" : "cross";
    this.drag = { act, tile, start: this.place(event), look: panel.look, spread: this.spread() };
    if (act === "cross") this.moveCross(event);
    if (event.button === 1) event.preventDefault();
  }

  onMove(event) {
    if (!this.fingers.has(event.pointerId)) return;
    this.fingers.set(event.pointerId, this.place(event));
    if (this.fingers.size > 1) this.pinch();
    else if (this.drag.act === "cross") this.moveCross(event);
    else if (this.drag.act === "window") this.changeWindow(event);
    else this.shift(event);
  }

  onUp(event) {
    this.fingers.delete(event.pointerId);
  }

  onWheel(event) {
    const tile = this.target.tileAt(...this.place(event));
    if (!tile) return;
    event.preventDefault();
    const { panel } = this.target;
    if (event.ctrlKey) panel.zoom(Math.exp(-event.deltaY / 400));
    else if (event.deltaY) panel.step(event.deltaY < 0 ? 1 : -1, tile.plane);
  }

  onDoubleClick(event) {
    const tile = this.target.tileAt(...this.place(event));
    const { panel } = this.target;
    if (tile) panel.choose({ plane: tile.plane, alone: tile.plane === panel.look.plane ? !panel.look.alone : true });
  }

  moveCross(event) {
    this.target.panel.choose({ index: this.target.indexAt(this.drag.tile, ...this.place(event)) });
  }

  changeWindow(event) {
    const [x, y] = this.place(event);
    const [from, to] = this.drag.look.window;
    const width = Math.max(1, to - from + WINDOW_HU_PER_PIXEL * (x - this.drag.start[0]));
    const level = (from + to) / 2 + WINDOW_HU_PER_PIXEL * (y - this.drag.start[1]);
    this.target.panel.choose({ window: [level - width / 2, level + width / 2] });
  }

  shift(event) {
    const { tile, start, look } = this.drag;
    const [from, to] = [start, this.place(event)].map(([x, y]) => this.target.pointAt(tile, x, y));
    this.target.panel.choose({ shift: look.shift.map((mm, k) => mm + from[k] - to[k]) });
  }

  pinch() {
    const spread = this.spread();
    if (!this.drag.spread) Object.assign(this.drag, { spread, look: this.target.panel.look });
    const zoom = (this.drag.look.zoom * spread) / this.drag.spread;
    this.target.panel.choose({ zoom: Math.min(Math.max(zoom, 0.4), 12) });
  }

  /** Distance of two fingers, 0 for one. */
  spread() {
    const [first, second] = [...this.fingers.values()];
    return second ? Math.hypot(first[0] - second[0], first[1] - second[1]) : 0;
  }
}
