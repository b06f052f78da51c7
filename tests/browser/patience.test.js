/** What somebody meets who asks too soon or too often, and who was invited. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Scene } from "./scene.js";

/** As long as a page has somebody wait for another code, and a little. */
const WAIT = 31_000;

async function played(options, plays) {
  const scene = await Scene.start({ signin: 'brand.name = "Example"', ...options });
  try {
    const person = await scene.person();
    await plays(person, scene);
    await person.leaves();
  } finally {
    await scene.end();
  }
}

test("another code comes once some time has passed", () =>
  played({}, async (gil, scene) => {
    await gil.open("/x");
    await gil.enterEmail("gil@globex.example");
    await gil.sees("Enter your code");
    const first = await scene.code("gil@globex.example");
    await gil.press("Send another code");
    await gil.page.getByText("A code was sent a moment ago.").waitFor();
    assert.equal(await scene.code("gil@globex.example"), first, "none was sent");
    await gil.page.waitForTimeout(WAIT);
    await gil.press("Send another code");
    await gil.page.getByText("Another code is on its way.").waitFor();
    await gil.enterCodeOf("gil@globex.example");
    await gil.arrives();
  }));

test("too many attempts from one address end in a page that says so", () =>
  played({ rate: "2/h" }, async (gil) => {
    await gil.open("/x");
    await gil.enterEmail("gil@globex.example");
    await gil.sees("Enter your code");
    await gil.fill("Code", "000000");
    await gil.press("Continue");
    await gil.page.getByText("not right").waitFor();
    await gil.fill("Code", "000001");
    const answered = gil.page.waitForResponse((response) => response.request().method() === "POST");
    await gil.press("Continue");
    const answer = await answered;
    assert.equal(answer.status(), 429);
    assert.ok(Number((await answer.allHeaders())["retry-after"]) > 0);
    await gil.sees("Too many attempts");
  }));

test("an invitation leads to signing in to its organization", () =>
  played({ away: true, signin: 'brand.name = "Example"\nmethods = ["email_otp", "magic_link"]' }, async (gil) => {
    await gil.open("/_stytch/callback?stytch_token_type=multi_tenant_magic_links&token=of-an-invitation&slug=globex");
    await gil.page.getByRole("link", { name: "Start again" }).click();
    await gil.enterEmail("gil@globex.example");
    await gil.sees("Enter your code");
    await gil.enterCodeOf("gil@globex.example");
    assert.equal((await gil.arrives())["x-stytch-organization-slug"], "globex");
  }));
