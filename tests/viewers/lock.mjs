/**
 * Writes package-lock.json: `npm run lock`, after a version in package.json was changed.
 *
 * Of `@ohif/app` only the finished build in its `dist` is used. The package also names what the build was made from,
 * some of it never published (`@ohif/i18n` 3.13.2), so that npm cannot resolve it. It is therefore locked by its
 * checksum and without dependencies; `npm ci` takes that as it stands.
 */

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const VIEWER = "@ohif/app";
const read = (file) => JSON.parse(readFileSync(file));
const npm = (...words) => execFileSync("npm", words, { encoding: "utf8" });
const sorted = (object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));
const write = (file, value) => writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);

const wanted = read("package.json");
const { [VIEWER]: version, ...others } = wanted.dependencies;
const folder = mkdtempSync(join(tmpdir(), "lock-"));
write(join(folder, "package.json"), { ...wanted, dependencies: others });
npm("install", "--prefix", folder, "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund");

const lock = read(join(folder, "package-lock.json"));
const integrity = npm("view", `${VIEWER}@${version}`, "dist.integrity").trim();
lock.packages[""].dependencies = wanted.dependencies;
lock.packages[`node_modules/${VIEWER}`] = { version, integrity, license: "MIT" };
lock.packages = sorted(lock.packages);
write(join(folder, "package-lock.json"), lock);
copyFileSync(join(folder, "package-lock.json"), "package-lock.json");
