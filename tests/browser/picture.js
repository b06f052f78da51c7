/** The pictures of the README: node picture.js DIRECTORY. */

import path from "node:path";

import { Scene } from "./scene.js";

const [directory] = process.argv.slice(2);
const scene = await Scene.start({ signin: 'brand.name = "Sample application"' });
try {
  for (const [colorScheme, name] of [["light", "sign-in.png"], ["dark", "sign-in-dark.png"]]) {
    const viewport = { width: 640, height: 400 };
    const person = await scene.person({ colorScheme, viewport, deviceScaleFactor: 2 });
    await person.open("/reports");
    await person.fill("E-mail address", "ana@acme.example");
    // Without the caret, which comes and goes.
    await person.page.screenshot({ path: path.join(directory, name), caret: "hide" });
    await person.leaves();
  }
} finally {
  await scene.end();
}
