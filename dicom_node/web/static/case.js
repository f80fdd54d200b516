// The page of a case: mean HU of the lobes once they are known, and a word when the case has changed.

import { BY_ITSELF } from "./by_itself.js";

const LOOK_MS = 5000;
const element = document.querySelector(".case");
const address = `/api/v1/cases/${element.dataset.case}`;

async function asked(part) {
  const answer = await fetch(`${address}/${part}`, { headers: BY_ITSELF });
  return answer.ok ? answer.json() : null;
}

async function showDensities() {
  const cells = element.querySelectorAll("[data-hu]");
  const said = cells.length ? await asked("densities") : null;
  for (const cell of cells) {
    const hu = said?.mean_hu[cell.dataset.hu];
    if (hu !== undefined) cell.textContent = Math.round(hu).toString().replace("-", "−");
  }
}

function showNews() {
  const news = document.getElementById("case-news");
  news.querySelector("a").href = window.location.pathname;
  news.hidden = false;
}

async function look() {
  const now = document.hidden ? undefined : await asked("standing").catch(() => undefined);
  if (now === null || (now && Date.parse(now.changed_at) !== Date.parse(element.dataset.changed))) {
    showNews();
    return;
  }
  if (now) document.getElementById("case-progress").textContent = now.progress ? `Now: ${now.progress}.` : "";
  window.setTimeout(look, LOOK_MS);
}

showDensities().catch(() => {});
if (element.dataset.finished !== "true") window.setTimeout(look, LOOK_MS);
