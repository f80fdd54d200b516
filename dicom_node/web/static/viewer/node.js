/** What is asked of the node. */

import { Volume } from "./volume.js";

/** An answer in JSON. Faults have the `code` that the node gives. */
export async function fetchedFacts(caseId) {
  const facts = await (await fetched(`/api/v1/cases/${caseId}/view`)).json();
  facts.grid.affine.length = 3; // the last row is 0, 0, 0, 1
  return facts;
}

/** @returns {Promise<Volume>} */
export async function fetchedVolume(caseId, name) {
  return new Volume(await (await fetched(`/api/v1/cases/${caseId}/volumes/${name}.nii`)).arrayBuffer());
}

async function fetched(address) {
  const answer = await fetch(address);
  if (answer.ok) return answer;
  const { code, message } = await answer.json().catch(() => ({}));
  const fault = new Error(message ?? `The node answered ${answer.status}.`);
  throw Object.assign(fault, { code: code ?? `HTTP_${answer.status}` });
}
