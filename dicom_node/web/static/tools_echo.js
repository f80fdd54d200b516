// Asks peers without leaving the page, and shows each answer when it comes.

import { BY_ITSELF } from "./by_itself.js";

const table = document.getElementById("echo");
const state = document.getElementById("echo-state");
const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const LOOK_MS = 400;
const BADGES = { there: "up", "not there": "down", asking: "running", waiting: "running" };
let looking = false;

// What says the same stays: a link in it may have the focus.
function put(row, name, ...content) {
  const cell = row.querySelector(`[data-cell="${name}"]`);
  const text = content.map((part) => part.textContent ?? part).join("");
  if (cell.textContent !== text) cell.replaceChildren(...content);
}

function badge(word) {
  const element = document.createElement("span");
  element.className = `badge badge-${BADGES[word] ?? "rest"}`;
  element.textContent = word;
  return element;
}

function reason(peer) {
  if (!peer.code) return [];
  const link = document.createElement("a");
  link.href = `/tools/help#${encodeURIComponent(peer.code)}`;
  link.textContent = peer.code;
  return [link, ` ${peer.message}`];
}

function clock(seconds) {
  return seconds ? new Date(1000 * seconds).toLocaleTimeString() : "";
}

function show(board) {
  for (const peer of board.peers) {
    const row = [...table.querySelectorAll("tr[data-name]")].find((known) => known.dataset.name === peer.name);
    if (!row) continue;
    put(row, "state", badge(peer.state));
    put(row, "milliseconds", peer.milliseconds === null ? "" : peer.milliseconds.toFixed(0));
    put(row, "reason", ...reason(peer));
    put(row, "asked_at_s", clock(peer.asked_at_s));
  }
  const there = board.peers.filter((peer) => peer.state === "there").length;
  const asked = board.peers.filter((peer) => peer.asked_at_s).length;
  state.textContent = board.is_open ? "asking…" : `${there} of ${asked} asked are there`;
}

async function look() {
  looking = true;
  try {
    for (;;) {
      const answer = await fetch("/api/v1/echo", { headers: BY_ITSELF });
      if (!answer.ok) break;
      const board = await answer.json();
      show(board);
      if (!board.is_open) break;
      await new Promise((wake) => setTimeout(wake, LOOK_MS));
    }
  } finally {
    looking = false;
  }
}

async function ask(name) {
  const address = `/api/v1/echo?name=${encodeURIComponent(name)}`;
  const answer = await fetch(address, { method: "POST", headers: { "X-CSRF-Token": csrf } });
  if (!answer.ok) {
    state.textContent = `Refused (${answer.status}).`;
    return;
  }
  show(await answer.json());
  if (!looking) await look();
}

for (const button of document.querySelectorAll("button[data-ask]")) {
  button.addEventListener("click", (event) => {
    event.preventDefault();
    ask(button.dataset.ask).catch(() => { state.textContent = "The node did not answer."; });
  });
}
for (const time of table.querySelectorAll("time[data-seconds]")) time.textContent = clock(Number(time.dataset.seconds));
if (table.dataset.open === "true") look().catch(() => {});
