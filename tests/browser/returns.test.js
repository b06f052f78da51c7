/** Wherever a link says to go after signing in or out: a browser stays with the gateway's host. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Scene } from "./scene.js";
import { spellings } from "./spellings.js";

/** Then a host that is allowed is gone to over plain http, too, which is all the tripwire speaks. */
const COOKIES = "[session.cookies]\nsecure = false\n";
/** So many at once keep two processors busy. */
const WINDOWS = 4;

describe("return targets", () => {
  let scene, all;
  before(async () => {
    scene = await Scene.start({ vertical: "consumer", signin: 'redirects = ["friend.example"]', more: COOKIES });
    all = spellings(`localhost:${scene.port}`);
  });
  after(() => scene?.end());

  /** Neither the window nor anything it asked for was elsewhere. */
  function stayed(person, spelling) {
    const at = new URL(person.page.url());
    assert.equal(at.origin, scene.origin, JSON.stringify(spelling));
    assert.deepEqual(person.strayed, [], JSON.stringify(spelling));
    assert.equal(scene.tripwire.trips, 0, JSON.stringify(spelling));
  }

  test("who leaves is seen", async () => {
    const person = await scene.person();
    await person.page.goto("http://evil.example/");
    assert.ok(scene.tripwire.trips > 0);
    assert.deepEqual(person.strayed, ["http://evil.example/"]);
    scene.tripwire.trips = 0;
    person.strayed.length = 0;
    // And where the gateway may send people, it does.
    await person.hasSession(scene.anybody);
    await person.open("/_stytch/login?return_to=http%3A%2F%2Ffriend.example%2Fx");
    assert.equal(person.page.url(), "http://friend.example/x");
    assert.ok(scene.tripwire.trips > 0);
    await person.context.close();
    scene.tripwire.trips = 0;
  });

  test("of who is signed in already", async () => {
    assert.ok(all.length > 500, `${all.length} spellings`);
    let next = 0;
    const window = async () => {
      const person = await scene.person();
      await person.hasSession(scene.anybody);
      while (next < all.length) {
        const spelling = all[next];
        next += 1;
        await person.forgets("stytch_gateway_returned");
        await person.open(`/_stytch/login?return_to=${escaped(spelling)}`);
        stayed(person, spelling);
        assert.doesNotMatch(person.page.url(), /\/_stytch/, JSON.stringify(spelling));
      }
      await person.leaves();
    };
    await Promise.all(Array.from({ length: WINDOWS }, window));
  });

  test("as browsers themselves write them into an address", async () => {
    const person = await scene.person();
    await person.hasSession(scene.anybody);
    for (const spelling of all.filter((_, index) => index % 10 === 0)) {
      await person.forgets("stytch_gateway_returned");
      await person.page.goto(`${scene.origin}/_stytch/login?return_to=${spelling}`);
      stayed(person, spelling);
    }
    await person.leaves();
  });

  test("of who signs in", async () => {
    const some = ["//evil.example", "/\\evil.example", "http://evil.example/", "/%09/evil.example", "\t//evil.example", "http:evil.example", `http://localhost:${scene.port}@evil.example/`, "javascript:alert(1)", "/.//evil.example", "http://localhost\u3002evil.example/"];
    for (const [index, spelling] of some.entries()) {
      const person = await scene.person();
      await person.signIn(`/_stytch/login?return_to=${escaped(spelling)}`, `somebody.${index}@example.com`);
      await person.arrives();
      stayed(person, spelling);
      await person.leaves();
    }
    // And where the form itself was changed.
    for (const [index, spelling] of some.slice(0, 3).entries()) {
      const person = await scene.person();
      await person.open("/_stytch/login");
      const change = (field, text) => (field.value = text);
      await person.page.locator("input[name=return_to]").first().evaluate(change, spelling);
      await person.enterEmail(`somebody.${index}@example.com`);
      await person.sees("Enter your code");
      await person.page.locator("input[name=return_to]").first().evaluate(change, spelling);
      await person.enterCodeOf(`somebody.${index}@example.com`);
      await person.arrives();
      stayed(person, spelling);
      await person.leaves();
    }
  });

  test("of who signs out", async () => {
    const person = await scene.person();
    for (const spelling of all.filter((_, index) => index % 20 === 5)) {
      await person.open(`/_stytch/logout?return_to=${escaped(spelling)}`);
      await person.press("Sign out");
      await person.page.waitForLoadState();
      stayed(person, spelling);
      await person.open("/_stytch/logout?return_to=/public/");
      await person.page.locator("input[name=return_to]").evaluate((field, text) => (field.value = text), spelling);
      await person.press("Sign out");
      await person.page.waitForLoadState();
      stayed(person, spelling);
    }
    await person.leaves();
  });
});

/** As a query holds it; half a character is one that stands for it. */
function escaped(text) {
  return encodeURIComponent(text.toWellFormed());
}
