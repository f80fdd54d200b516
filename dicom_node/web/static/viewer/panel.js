/** The controls of the viewer: what the person chose, by form, key or mouse, and where words are shown. */

import { PLANES } from "./planes.js";

export const PRESETS = { lung: [-1350, 150], wide: [-1100, 600], soft: [-160, 240], bone: [-500, 1300] };
const KEYS = {
  ArrowUp: (panel) => panel.step(1),
  ArrowRight: (panel) => panel.step(1),
  ArrowDown: (panel) => panel.step(-1),
  ArrowLeft: (panel) => panel.step(-1),
  PageUp: (panel) => panel.step(10),
  PageDown: (panel) => panel.step(-10),
  Home: (panel) => panel.step(-Infinity),
  End: (panel) => panel.step(Infinity),
};
const LETTERS = {
  1: (panel) => panel.choose({ plane: "axial" }),
  2: (panel) => panel.choose({ plane: "coronal" }),
  3: (panel) => panel.choose({ plane: "sagittal" }),
  m: (panel) => panel.choose({ alone: !panel.look.alone }),
  o: (panel) => panel.choose({ map: !panel.look.map }),
  l: (panel) => panel.choose({ lobes: !panel.look.lobes }),
  f: (panel) => panel.choose({ regions: !panel.look.regions }),
  "+": (panel) => panel.choose({ opacity: Math.min(1, panel.look.opacity + 0.05) }),
  "=": (panel) => LETTERS["+"](panel),
  "-": (panel) => panel.choose({ opacity: Math.max(0, panel.look.opacity - 0.05) }),
  "]": (panel) => panel.choose({ threshold: Math.min(panel.facts.map_range[1], panel.look.threshold + 5) }),
  "[": (panel) => panel.choose({ threshold: Math.max(0, panel.look.threshold - 5) }),
  z: (panel) => panel.zoom(1.25),
  x: (panel) => panel.zoom(0.8),
  r: (panel) => panel.reset(),
  "?": (panel) => panel.help.showModal(),
};
const SPEAK_AFTER_MS = 500;
const LUNG_HU = -850;

export class Panel {
  constructor(section) {
    this.section = section;
    this.stage = section.querySelector(".viewer-stage");
    this.help = section.querySelector(".viewer-help");
  }

  control(name) {
    return this.section.querySelector(`[data-control="${name}"]`);
  }

  part(name) {
    return this.section.querySelector(`[data-part="${name}"]`);
  }

  show(name, text) {
    this.section.querySelector(`[data-show="${name}"]`).textContent = text;
  }

  say(text) {
    this.show("message", text);
  }

  /** From here on the controls work. `view` has `redraw(look)` and may have `drawWhole()`. */
  connect(facts, view) {
    this.facts = facts;
    this.view = view;
    this.first = {
      plane: "axial",
      alone: false,
      index: facts.result?.cuts ?? facts.grid.shape.map((size) => Math.floor(size / 2)),
      map: true,
      opacity: facts.map_opacity,
      threshold: 0,
      lobes: true,
      regions: true,
      window: facts.window_hu,
      zoom: 1,
      shift: [0, 0, 0],
    };
    for (const part of this.section.querySelectorAll('[data-needs="result"]')) part.hidden = !facts.result;
    this.look = { ...this.first };
    this.showFacts();
    this.listen();
    this.showLook();
  }

  reset() {
    this.choose({ ...this.first });
  }

  choose(changes) {
    const { window } = this.look;
    this.look = { ...this.look, ...changes };
    if (!this.facts.result) Object.assign(this.look, { map: false, lobes: false, regions: false });
    this.showLook(window !== this.look.window);
    this.view.redraw(this.look);
  }

  /** Go along the axis that the large plane cuts. */
  step(slices, plane = this.look.plane) {
    const { axis } = PLANES[plane];
    const index = [...this.look.index];
    index[axis] = Math.min(Math.max(index[axis] + slices, 0), this.facts.grid.shape[axis] - 1);
    this.choose({ index });
  }

  /** Move the cross-hair within the large plane. */
  nudge(right, down) {
    const { axis } = PLANES[this.look.plane];
    const [vertical, horizontal] = [0, 1, 2].filter((other) => other !== axis);
    const index = [...this.look.index];
    index[horizontal] += right;
    index[vertical] += vertical === 0 ? -down : down;
    this.choose({ index: index.map((at, k) => Math.min(Math.max(at, 0), this.facts.grid.shape[k] - 1)) });
  }

  zoom(factor) {
    this.choose({ zoom: Math.min(Math.max(this.look.zoom * factor, 0.4), 12) });
  }

  listen() {
    this.section.addEventListener("keydown", (event) => this.onKey(event));
    for (const radio of this.section.querySelectorAll('[name="viewer-plane"]')) {
      radio.addEventListener("change", () => this.choose({ plane: radio.value }));
    }
    for (const name of ["alone", "map", "lobes", "regions"]) {
      this.control(name).addEventListener("change", (event) => this.choose({ [name]: event.target.checked }));
    }
    this.onInput("slice", (value) => this.step(value - 1 - this.look.index[PLANES[this.look.plane].axis]));
    this.onInput("opacity", (value) => this.choose({ opacity: value / 100 }));
    this.onInput("threshold", (value) => this.choose({ threshold: value }));
    for (const name of ["level", "width"]) this.control(name).addEventListener("change", () => this.takeWindow());
    this.control("preset").addEventListener("change", ({ target }) => this.choose({ window: PRESETS[target.value] }));
    this.control("reset").addEventListener("click", () => this.reset());
    this.control("help").addEventListener("click", () => this.help.showModal());
    this.control("whole").addEventListener("click", () => this.view.drawWhole());
  }

  onInput(name, act) {
    this.control(name).addEventListener("input", (event) => act(Number(event.target.value)));
  }

  takeWindow() {
    const [level, width] = ["level", "width"].map((name) => Number(this.control(name).value));
    if (width >= 1) this.choose({ window: [level - width / 2, level + width / 2] });
  }

  onKey(event) {
    if (this.help.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const isStage = event.target === this.stage;
    if (!isStage && event.target.matches("input[type=number], select")) return;
    const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (isStage && event.shiftKey && event.key in moves) this.nudge(...moves[event.key]);
    else if (isStage && event.key in KEYS) KEYS[event.key](this);
    else if (event.key.toLowerCase() in LETTERS) LETTERS[event.key.toLowerCase()](this);
    else return;
    event.preventDefault();
  }

  showFacts() {
    const { result } = this.facts;
    this.show("qualification", `${this.facts.qualification} – not for clinical decisions`);
    this.show("unit", this.facts.unit);
    this.show("released", this.facts.not_released);
    if (!result) {
      this.show("model", "No perfusion map: this case has no result.");
      return;
    }
    this.show("model", `Map by ${result.model}`);
    const { worst } = result;
    const others = worst?.others ? ` (and ${worst.others} more)` : "";
    this.show("finding", worst ? `${worst.severity.toUpperCase()}: ${worst.sentence}${others}` : "No finding.");
    this.section.querySelector('[data-show="finding"]').dataset.severity = worst?.severity ?? "";
    this.show("rule", result.rule);
    this.showTicks();
  }

  /** The colours as they are seen over aerated lung. */
  showScale() {
    const canvas = this.part("scale");
    const context = canvas.getContext("2d");
    const { colours } = this.facts;
    const [from, to] = this.look.window;
    const grey = 255 * Math.min(Math.max((LUNG_HU - from) / (to - from), 0), 1);
    colours.forEach((colour, step) => {
      const mixed = colour.map((part) => Math.round(this.look.opacity * part + (1 - this.look.opacity) * grey));
      context.fillStyle = `rgb(${mixed.join(", ")})`;
      context.fillRect(0, colours.length - 1 - step, 1, 1);
    });
  }

  showTicks() {
    const [least, most] = this.facts.map_range;
    const ticks = this.section.querySelector('[data-show="ticks"]');
    const values = [4, 3, 2, 1, 0].map((part) => least + (part * (most - least)) / 4);
    ticks.replaceChildren(
      ...values.map((value) => {
        const tick = document.createElement("li");
        tick.textContent = value === most ? `≥ ${value}` : `${value}`;
        return tick;
      }),
    );
  }

  showLook(isNewWindow = true) {
    const { look } = this;
    const { axis } = PLANES[look.plane];
    this.section.querySelector(`[name="viewer-plane"][value="${look.plane}"]`).checked = true;
    for (const name of ["alone", "map", "lobes", "regions"]) this.control(name).checked = look[name];
    Object.assign(this.control("slice"), { max: this.facts.grid.shape[axis], value: look.index[axis] + 1 });
    this.show("slice", `${look.index[axis] + 1} of ${this.facts.grid.shape[axis]}`);
    this.control("opacity").value = Math.round(100 * look.opacity);
    this.show("opacity", `${Math.round(100 * look.opacity)} %`);
    Object.assign(this.control("threshold"), { max: this.facts.map_range[1], value: look.threshold });
    this.show("threshold", look.threshold ? `${look.threshold} %` : "off");
    if (isNewWindow) this.showWindow();
    if (this.facts.result) this.showScale();
  }

  showWindow() {
    const [from, to] = this.look.window;
    this.control("level").value = Math.round((from + to) / 2);
    this.control("width").value = Math.round(to - from);
    const known = Object.entries(PRESETS).find(([, preset]) => preset[0] === from && preset[1] === to);
    this.control("preset").value = known ? known[0] : "own";
  }

  /** Say where the patient's directions are; on the stage they are drawn. */
  showLetters(tiles) {
    const words = tiles.map((tile) => {
      const [left, right, top, bottom] = tile.letters;
      return `${PLANES[tile.plane].title}: ${left} left, ${right} right, ${top} top, ${bottom} bottom.`;
    });
    this.show("letters", words.join(" "));
  }

  /** Show what is at the cross-hair at once, and say it to a screen reader when it rests. */
  showReadout(words) {
    for (const name of ["position", "hu", "perfusion", "lobe", "region"]) this.show(name, words[name]);
    clearTimeout(this.speaking);
    const text = [words.position, words.hu, words.perfusion, words.lobe].filter((word) => word !== "–").join("; ");
    this.speaking = setTimeout(() => this.show("spoken", text), SPEAK_AFTER_MS);
  }
}
