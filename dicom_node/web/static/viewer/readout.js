/** What is at the cross-hair, in words. */

import { HIGH, LOW } from "./marks.js";

const REGIONS = { [LOW]: "low", [HIGH]: "high" };
const MINUS = "−";

const signed = (number, digits = 0) => number.toFixed(digits).replace("-", MINUS);

/**
 * @param {number[]} at LPS mm
 * @param {object} volumes `ct`, `map`, `lobes`, `function`, as far as they are there
 * @param {object} facts of the view
 * @param {boolean} isCoarse whether numbers are means of blocks of voxels
 */
export function readout(at, volumes, facts, isCoarse) {
  const about = isCoarse ? "≈ " : "";
  const value = (name) => volumes[name]?.valueAt(at);
  const [hu, percent, label, region] = ["ct", "map", "lobes", "function"].map(value);
  const lobe = facts.lobes.find((known) => known.label === label);
  return {
    position: `${at.map((mm) => signed(mm, 1)).join(", ")} mm`,
    hu: hu === undefined ? "–" : `${about}${signed(Math.round(hu))} HU`,
    perfusion: percent ? `${about}${percent.toFixed(0)} ${facts.unit}` : "–",
    lobe: lobe ? lobe.tg263 : "–",
    region: REGIONS[region] ?? "–",
  };
}
