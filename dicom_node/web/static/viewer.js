/** The viewer of a case: fetches what is shown, keeps what the person chose, and tells whoever draws. */

import { fetchedFacts, fetchedVolume } from "./viewer/node.js";
import { Panel } from "./viewer/panel.js";
import { Pictures } from "./viewer/pictures.js";
import { Scene } from "./viewer/scene.js";
import { Volumes } from "./viewer/volumes.js";

async function open(section) {
  const panel = new Panel(section);
  const caseId = section.dataset.case;
  try {
    const view = hasWebGl2() ? await volumesOf(panel, caseId) : new Pictures(panel, await fetchedFacts(caseId));
    panel.connect(view.facts, view);
    await view.open();
  } catch (fault) {
    panel.say(fault.message);
    section.dataset.failed = fault.code ?? "";
    if (!fault.code) throw fault;
  }
}

/** Facts, the first volume and the drawing program are asked for at once: none of them waits for another. */
async function volumesOf(panel, caseId) {
  const ct = fetchedVolume(caseId, "ct-coarse");
  ct.catch(() => {}); // whoever waits for it is told
  const scene = new Scene(panel.part("volumes"));
  return new Volumes(panel, await fetchedFacts(caseId), scene, ct);
}

function hasWebGl2() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return Boolean(context) && Boolean(globalThis.niivue);
}

for (const section of document.querySelectorAll("section.viewer[data-case]")) open(section);
