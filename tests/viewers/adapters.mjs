/**
 * Reads a CT, a Parametric Map and Segmentations with the cornerstone3D adapters, in the order of calls that OHIF uses.
 *
 * node adapters.mjs FOLDER…   Each FOLDER holds ct/*.dcm, map.dcm and segmentation-*.dcm. Written into it: volume.json
 * (geometry of cornerstone's volume; names of the segments of each segmentation), map.float32 (slice, row, column) and
 * segmentation-*.uint8 (layer, slice, row, column), slices in the order of cornerstone's volume.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, parse } from "node:path";

import { adaptersPMAP, adaptersSEG } from "@cornerstonejs/adapters";
import { metaData, utilities } from "@cornerstonejs/core";
import { registerDefaultProviders, utilities as metadataUtilities } from "@cornerstonejs/metadata";

const TOLERANCE = 1e-3; // of orientations and positions, as in OHIF

globalThis.navigator ??= { platform: "" }; // cornerstone asks whether it runs on a telephone; Node 20 has none to ask
registerDefaultProviders();
// The adapters look here for the UID of an image. OHIF's own provider gives it, cornerstone's does not.
metaData.addProvider((kind, imageId) => {
  const instance = kind === "generalImageModule" && metaData.get("instance", imageId);
  return instance ? { sopInstanceUID: instance.SOPInstanceUID } : undefined;
}, 1000);

function bytesOf(path) {
  const { buffer, byteOffset, byteLength } = readFileSync(path);
  return buffer.slice(byteOffset, byteOffset + byteLength);
}

async function readVolume(folder) {
  const files = readdirSync(join(folder, "ct")).map((name) => join(folder, "ct", name));
  for (const file of files) await metadataUtilities.addDicomPart10Instance(`file:${file}`, bytesOf(file));
  return utilities.generateVolumePropsFromImageIds(files.map((file) => `file:${file}`), folder);
}

async function readSegmentation(imageIds, path) {
  const { labelMapImages, segMetadata } = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(
    imageIds, bytesOf(path), { metadataProvider: metaData, tolerance: TOLERANCE });
  for (const layer of labelMapImages) {
    if (layer.some((image, k) => image.referencedImageId !== imageIds[k])) throw new Error("labels out of order");
  }
  const slices = labelMapImages.flat().map((image) => Buffer.from(image.getPixelData()));
  return { labels: Buffer.concat(slices), names: segMetadata.data.slice(1).map((segment) => segment.SegmentLabel) };
}

for (const folder of process.argv.slice(2)) {
  const { imageIds, dimensions, spacing, origin, direction } = await readVolume(folder);
  const map = await adaptersPMAP.Cornerstone3D.ParametricMap.generateToolState(
    imageIds, bytesOf(join(folder, "map.dcm")), metaData);
  writeFileSync(join(folder, "map.float32"), map.pixelData);
  const segments = {};
  for (const file of readdirSync(folder).filter((name) => /^segmentation.*\.dcm$/.test(name))) {
    const { labels, names } = await readSegmentation(imageIds, join(folder, file));
    const { name } = parse(file);
    writeFileSync(join(folder, `${name}.uint8`), labels);
    segments[name] = names;
  }
  const volume = { dimensions, spacing, origin: [...origin], direction: [...direction], segments };
  writeFileSync(join(folder, "volume.json"), JSON.stringify(volume));
}
