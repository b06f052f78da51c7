/** The device that people sign in from: named by a script of another origin, and never missed. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Scene } from "./scene.js";

const SCRIPT = `
methods = ["email_otp", "oauth"]
oauth_providers = ["google"]
device.script = "$STYTCH/emulator/telemetry.js"
device.submit = "$STYTCH/emulator/telemetry"
`;
const KNOWN = `
[[routes]]
path = "/known/*"
upstream = "app"
allow.device.known = true
`;

let scene;
before(async () => {
  scene = await Scene.start({ signin: SCRIPT, more: KNOWN, away: true });
});
after(() => scene?.end());

/** What somebody's session says of their device. */
async function device(person) {
  const cookies = await person.context.cookies();
  const { value } = cookies.find(({ name }) => name === "stytch_session_jwt");
  return JSON.parse(Buffer.from(value.split(".")[1], "base64url")).stytch_gateway_device;
}

test("a device is new, and known from the next sign-in on", async () => {
  const person = await scene.person();
  await person.signIn("/known/x", "gil@globex.example");
  await person.sees("One more step is needed");
  const first = await device(person);
  assert.deepEqual([first.is_new, first.country], [true, "GB"]);
  await person.page.getByRole("link", { name: "Sign in again" }).click();
  await person.press("E-mail a code to gil@globex.example");
  await person.sees("Enter your code");
  await person.enterCodeOf("gil@globex.example");
  await person.arrives();
  const second = await device(person);
  assert.deepEqual([second.is_new, second.visitor_id], [false, first.visitor_id]);
  await person.leaves();
});

test("enter sends the form as a click does", async () => {
  const person = await scene.person();
  await person.open("/x");
  await person.fill("E-mail address", "gil@globex.example");
  await person.page.keyboard.press("Enter");
  await person.sees("Enter your code");
  await person.fill("Code", await scene.code("gil@globex.example"));
  await person.page.keyboard.press("Enter");
  await person.arrives();
  assert.equal((await device(person)).is_new, true, "another browser, another device");
  await person.leaves();
});

test("a trip to a provider takes the id along", async () => {
  const person = await scene.person();
  await person.open("/x");
  await person.press("Continue with Google");
  await person.page.waitForURL(`${scene.providers}/**`);
  await person.page.getByLabel("Somebody else").fill("gil@globex.example");
  await person.page.getByRole("button").click();
  await person.arrives();
  const visitor = await person.page.evaluate(() => localStorage.getItem("stytch-emulator-visitor"));
  assert.match(visitor, /^visitor-/);
  assert.equal((await device(person)).visitor_id, visitor);
  await person.leaves();
});

for (const [why, options, blocked] of [
  ["without scripts", { scripts: false }, undefined],
  ["where the script does not come", {}, "**/telemetry.js"],
]) {
  test(`${why} people sign in as ever`, async () => {
    const person = await scene.person(options);
    if (blocked) await person.context.route(blocked, (route) => route.abort());
    await person.signIn("/x", "gil@globex.example");
    await person.arrives();
    assert.equal(await device(person), undefined);
    await person.leaves();
  });
}

test("a script that never answers holds nobody up", async () => {
  const person = await scene.person();
  await person.context.route("**/emulator/telemetry", () => {});
  await person.signIn("/x", "gil@globex.example");
  await person.arrives();
  assert.equal(await device(person), undefined);
  await person.leaves();
});
