/**
 * Opens a study in OHIF and takes pictures of what it shows.
 *
 * node ohif.mjs PLAN.json OUT   PLAN names the DICOMweb archive, the browser, the study, images of the CT to look at,
 * for each image points in patient coordinates, and for structure set and segmentations what to show in which image.
 * OUT gets PNG files and views.json: per picture its image, the segments shown, and where the points lie in it; then
 * the names and colours that OHIF gave the segments, and the volume it made of the map, with its values in map.float32.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { installProbe } from "./probe.mjs";
import { serve } from "./site.mjs";

const WAIT_MS = 60_000;
const SOFTWARE_WEBGL = [
  "--no-sandbox",
  "--use-gl=angle",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
  "--disable-gpu-compositing",
];
const OVER_IMAGES = '[data-cy^="viewport-overlay"], .ViewportOrientationMarkers, [data-sonner-toaster]';

const [planFile, out] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile));
let pictures = 0;

/** A picture once it no longer changes: OHIF draws when it pleases. */
async function takePicture(page) {
  const clip = await page.evaluate(() => window.probe.frame());
  let before = Buffer.alloc(0);
  for (let now = await page.screenshot({ clip }); !now.equals(before); now = await page.screenshot({ clip })) {
    before = now;
    await page.waitForTimeout(100);
  }
  const file = `view${pictures++}.png`;
  writeFileSync(join(out, file), before);
  return file;
}

async function takeView(page, shown = []) {
  const file = await takePicture(page);
  const image = await page.evaluate(() => window.probe.image());
  const places = await page.evaluate((points) => window.probe.places(points), plan.points[image]);
  return { image, shown, places, file };
}

/** Start anew: OHIF opens the CT. */
async function openStudy(page, site) {
  await page.goto(`${site}/viewer?StudyInstanceUIDs=${plan.study}`);
  await page.addStyleTag({ content: `${OVER_IMAGES} { visibility: hidden !important }` });
  await page.waitForSelector(".cornerstone-canvas", { timeout: WAIT_MS });
  await page.waitForFunction(() => window.probe.showsImages(), null, { timeout: WAIT_MS });
}

/** Open an object of the study as a user does, from the list at the left. */
async function openObject(page, text) {
  await page.locator('[data-cy="study-browser-thumbnail-no-image"]', { hasText: text }).dblclick();
}

async function seeCt(page) {
  const views = [];
  for (const image of plan.images) {
    await page.evaluate((uid) => window.probe.goTo(uid), image);
    views.push(await takeView(page));
  }
  return { views };
}

async function seeSegments(page, text, looks) {
  await openObject(page, text);
  await page.waitForFunction(() => window.probe.showsSegments(), null, { timeout: WAIT_MS });
  const segments = await page.evaluate(() => window.probe.segments());
  const views = [];
  for (const { image, shown } of looks) {
    await page.evaluate((uid) => window.probe.goTo(uid), image);
    await page.evaluate((names) => window.probe.showOnly(names), shown);
    views.push(await takeView(page, shown));
  }
  return { segments, views };
}

async function seeMap(page) {
  await openObject(page, "PMAP");
  await page.waitForFunction(() => window.probe.showsMap(), null, { timeout: WAIT_MS });
  const { values, ...volume } = await page.evaluate(() => window.probe.map());
  writeFileSync(join(out, "map.float32"), Float32Array.from(values));
  // OHIF draws the map only when it has a reason to draw again: scroll by an image.
  const { x, y, width, height } = await page.evaluate(() => window.probe.frame());
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.wheel(0, 100);
  return { volume, views: [await takeView(page)] };
}

const site = await serve(plan.archive);
const browser = await chromium.launch({ executablePath: plan.browser, args: SOFTWARE_WEBGL });
try {
  const page = await browser.newPage({ viewport: { width: 760, height: 480 } });
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  page.on("console", (said) => said.type() === "error" && console.error(`console: ${said.text()}`));
  await page.addInitScript(installProbe);
  const seen = {};
  await openStudy(page, site.address);
  seen.ct = await seeCt(page);
  seen.structureSet = await seeSegments(page, "RTSTRUCT", plan.structureSet);
  for (const [part, looks] of Object.entries(plan.segmentations)) {
    await openStudy(page, site.address);
    seen[part] = await seeSegments(page, `segments from CT, ${part}`, looks);
  }
  await openStudy(page, site.address);
  seen.map = await seeMap(page);
  writeFileSync(join(out, "views.json"), JSON.stringify(seen));
} finally {
  await browser.close();
  site.close();
}
