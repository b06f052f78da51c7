// Reads a list of assertions, and writes what docs/verify.md's code makes of each: its claims, or why not.
import { verified } from "./verified.js";

let text = "";
for await (const part of process.stdin) text += part;
const outcomes = [];
for (const assertion of JSON.parse(text)) {
  outcomes.push(
    await verified(assertion).then(
      (claims) => ({ claims }),
      (error) => ({ error: `${error.code}: ${error.message}` }),
    ),
  );
}
console.log(JSON.stringify(outcomes));
