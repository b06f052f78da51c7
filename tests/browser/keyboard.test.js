/** By keyboard and by ear: where the focus is, what is read out with it, and what fills a field in. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Scene } from "./scene.js";

/** What has the focus, as a screen reader tells of it. */
async function heard(person) {
  return person.page.locator(":focus").evaluate((element) => {
    const texts = (ids) => (ids ?? "").split(" ").map((id) => document.getElementById(id)?.innerText ?? "");
    return {
      name: element.labels?.[0]?.innerText ?? element.innerText,
      described: texts(element.getAttribute("aria-describedby")).join(" "),
      invalid: element.getAttribute("aria-invalid"),
      ring: getComputedStyle(element).outlineStyle,
    };
  });
}

/** The names of what Tab goes through. */
async function tabbed(person, times) {
  const names = [];
  for (let time = 0; time < times; time += 1) {
    await person.page.keyboard.press("Tab");
    const { name, ring } = await heard(person);
    assert.equal(ring, "solid", `the focus on ${name} can be seen`);
    names.push(name);
  }
  return names;
}

describe("by keyboard", () => {
  let scene;
  before(async () => (scene = await Scene.start({ signin: 'brand.name = "Example"' })));
  after(() => scene?.end());

  test("all the way in, with every mistake on the way", async () => {
    const ana = await scene.person();
    const { keyboard } = ana.page;
    await ana.open("/reports");
    assert.equal(await ana.sees("Sign in to Example"), "email");
    await keyboard.type("ana at acme");
    await keyboard.press("Enter");
    await ana.page.locator("#email-error").waitFor();
    const wrong = await heard(ana);
    assert.equal(wrong.name, "E-mail address");
    assert.equal(wrong.invalid, "true");
    assert.match(wrong.described, /should look like name@example\.com/);
    assert.equal(await ana.page.locator(":focus").inputValue(), "ana at acme", "what was typed can be put right");

    await keyboard.press("Control+A");
    await keyboard.type("ana@acme.example");
    assert.deepEqual(await tabbed(ana, 1), ["E-mail me a code"]);
    await keyboard.press("Enter");
    assert.equal(await ana.sees("Enter your code"), "code");
    assert.match((await heard(ana)).described, /a code is on its way/);
    assert.deepEqual(await tabbed(ana, 3), ["Continue", "Send another code", "Use another address"]);
    for (let back = 0; back < 3; back += 1) await keyboard.press("Shift+Tab");
    await keyboard.type("000000");
    await keyboard.press("Enter");
    await ana.page.locator("#code-error").waitFor();
    assert.match((await heard(ana)).described, /This code is not right/);

    await keyboard.type((await scene.code("ana@acme.example")).replace(/(...)/, "$1-"));
    await keyboard.press("Enter");
    await ana.sees("Choose an organization");
    assert.deepEqual(await tabbed(ana, 2), ["Acme", "Globex Corporation"]);
    await keyboard.press("Space");
    assert.equal((await ana.arrives())["x-stytch-organization-slug"], "globex");
    await ana.leaves();
  });

  test("what a page says as a whole is read out with its field", async () => {
    const ben = await scene.person();
    await ben.open("/");
    await ben.enterEmail("ben@acme.example");
    await ben.sees("Enter your code");
    await ben.press("Send another code");
    await ben.page.getByRole("status").waitFor();
    assert.match((await heard(ben)).described, /wait half a minute/);
    await ben.leaves();
  });

  test("a code is pasted as it came", async () => {
    const gil = await scene.person();
    await gil.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: scene.origin });
    await gil.open("/reports");
    await gil.enterEmail("gil@globex.example");
    await gil.sees("Enter your code");
    const code = await scene.code("gil@globex.example");
    const copied = `\u00a0${code.slice(0, 3)}\u2009${code.slice(3)} `;
    await gil.page.evaluate((text) => navigator.clipboard.writeText(text), copied);
    await gil.page.keyboard.press("Control+V");
    await gil.page.keyboard.press("Enter");
    assert.equal((await gil.arrives()).url, "/reports");
    await gil.leaves();
  });

  test("browsers and phones know what to fill in", async () => {
    const cho = await scene.person();
    const field = (id) =>
      cho.page.locator(`#${id}`).evaluate(({ autocomplete, inputMode }) => [autocomplete, inputMode]);
    await cho.open("/");
    assert.deepEqual(await field("email"), ["email", "email"]);
    await cho.enterEmail("cho@acme.example");
    await cho.sees("Enter your code");
    assert.deepEqual(await field("code"), ["one-time-code", "numeric"]);
    await cho.enterCodeOf("cho@acme.example");
    await cho.sees("One more step");
    assert.deepEqual(await field("code"), ["one-time-code", "numeric"]);
    await cho.leaves();
  });

  test("in forced colours buttons have edges and fields too", async () => {
    const gil = await scene.person({ forcedColors: "active" });
    await gil.open("/");
    for (const selector of ["#email", "button"]) {
      const edge = await gil.page.locator(selector).evaluate((element) => getComputedStyle(element).borderTopColor);
      const ground = await gil.page.locator("main").evaluate((element) => getComputedStyle(element).backgroundColor);
      assert.notEqual(edge, ground, selector);
    }
    await gil.leaves();
  });

  test("nothing moves for who asked for rest", async () => {
    const gil = await scene.person();
    await gil.open("/");
    const duration = await gil.page.locator("button").evaluate((button) => getComputedStyle(button).transitionDuration);
    assert.equal(duration, "0s");
    await gil.leaves();
  });
});
