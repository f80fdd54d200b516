/**
 * Puts niivue into the page: `npm run vendor`, after its version in package.json was changed and `npm run lock`.
 *
 * The page is served without npm and without any other host, so the one file that draws volumes is kept in the
 * repository, with its checksum and the licences of all that it holds. `dist/index.min.js` of 0.69.0 exports a string.
 */

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const TARGET = fileURLToPath(new URL("../../dicom_node/web/static/vendor/", import.meta.url));
const PACKAGES = fileURLToPath(new URL("node_modules/", import.meta.url));
const FILE = "niivue.umd.js";
/** What the source map of the build names besides niivue itself, whose licence is not in its package. */
const HELD = [
  "@lukeed/uuid",
  "@ungap/structured-clone",
  "@zarrita/storage",
  "array-equal",
  "fflate",
  "gl-matrix",
  "nifti-reader-js",
  "numcodecs",
  "zarrita",
];

const content = readFileSync(`${PACKAGES}@niivue/niivue/dist/${FILE}`);
writeFileSync(TARGET + FILE, content);
writeFileSync(`${TARGET}${FILE}.sha256`, `${createHash("sha256").update(content).digest("hex")}  ${FILE}\n`);

const licences = HELD.map((name) => {
  const { version } = JSON.parse(readFileSync(`${PACKAGES}${name}/package.json`));
  const file = readdirSync(PACKAGES + name).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version}\n\n${readFileSync(`${PACKAGES}${name}/${file}`, "utf8").trim()}\n`;
});
writeFileSync(`${TARGET}LICENSES.txt`, licences.join(`\n${"-".repeat(80)}\n\n`));
