/** OHIF and a DICOMweb archive under one origin, as the reverse proxy of a hospital serves them. */

import { createReadStream, statSync } from "node:fs";
import { createServer, request } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const BUILD = fileURLToPath(new URL("node_modules/@ohif/app/dist", import.meta.url));
const ARCHIVE_ROOT = "/dicom-web";
const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".woff2": "font/woff2",
};
const SETTINGS = {
  extensions: [],
  modes: [],
  showStudyList: false,
  maxNumberOfWebWorkers: 1,
  disableConfirmationPrompts: true, // an opened structure set or segmentation is loaded without asking
  investigationalUseDialog: { option: "never" },
  defaultDataSourceName: "archive",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "archive",
      configuration: {
        friendlyName: "Archive",
        name: "archive",
        qidoRoot: ARCHIVE_ROOT,
        wadoRoot: ARCHIVE_ROOT,
        wadoUriRoot: ARCHIVE_ROOT,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        bulkDataURI: { enabled: true },
      },
    },
  ],
};

function forward(archive, asked, answer) {
  const { hostname, port } = new URL(archive);
  const onward = request({ hostname, port, method: asked.method, path: asked.url, headers: asked.headers }, (reply) => {
    answer.writeHead(reply.statusCode, reply.headers);
    reply.pipe(answer);
  });
  onward.on("error", () => answer.writeHead(502).end());
  asked.pipe(onward);
}

function sendFile(path, answer) {
  const file = join(BUILD, normalize(path));
  const found = statSync(file, { throwIfNoEntry: false })?.isFile() ? file : join(BUILD, "index.html");
  answer.setHeader("Content-Type", TYPES[extname(found)] ?? "application/octet-stream");
  createReadStream(found).pipe(answer);
}

/** Serve on a free port of loopback; `archive` is the HTTP address of the DICOMweb server. */
export async function serve(archive) {
  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url, "http://localhost");
    if (pathname.startsWith(ARCHIVE_ROOT)) forward(archive, asked, answer);
    else if (pathname === "/app-config.js") {
      answer.setHeader("Content-Type", TYPES[".js"]);
      answer.end(`window.config = ${JSON.stringify(SETTINGS)};`);
    } else sendFile(pathname, answer);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
