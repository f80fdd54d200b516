/** Where the browser cannot draw volumes: one slice at a time, drawn by the node. */

import { PLANES } from "./planes.js";
import { moved } from "./volume.js";

export class Pictures {
  constructor(panel, facts) {
    this.panel = panel;
    this.facts = facts;
    this.picture = panel.part("picture");
  }

  async open() {
    const { panel } = this;
    panel.section.classList.add("is-pictures");
    this.picture.hidden = false;
    panel.say(
      "This browser cannot draw volumes (WebGL 2 is missing or switched off). The node draws single slices instead.",
    );
    this.picture.addEventListener("load", () => (panel.section.dataset.ready = "all"), { once: true });
    panel.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.deltaY) panel.step(event.deltaY < 0 ? 1 : -1);
    });
    this.redraw(panel.look);
  }

  redraw(look) {
    const { axis, title, coordinate, name } = PLANES[look.plane];
    const at = moved(this.facts.grid.affine, look.index);
    const asked = new URLSearchParams({
      from_hu: look.window[0],
      to_hu: look.window[1],
      opacity: look.map ? look.opacity : 0,
      threshold: look.threshold,
      outlines: look.lobes || look.regions,
    });
    this.picture.src = `/api/v1/cases/${this.facts.case_id}/slices/${look.plane}/${look.index[axis]}.png?${asked}`;
    this.picture.alt = `${title} slice at ${name} = ${at[coordinate].toFixed(1)} mm`;
    this.panel.showReadout({ position: `${name} = ${at[coordinate].toFixed(1)} mm`, hu: "–", perfusion: "–", lobe: "–", region: "–" });
  }

  drawWhole() {}
}
