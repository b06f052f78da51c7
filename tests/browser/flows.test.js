/** Every way in, from the first page to the application, with scripts and without. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { Scene } from "./scene.js";

/** RFC 6238, with the settings of all apps: what one shows now that was given this key in base32. */
function shownByApp(key) {
  const bits = [...key].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g).map((byte) => Number.parseInt(byte, 2));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const digest = createHmac("sha1", Buffer.from(bytes)).update(counter).digest();
  const code = digest.readUInt32BE(digest.at(-1) & 0xf) & 0x7fff_ffff;
  return String(code % 1_000_000).padStart(6, "0");
}

const RECOVERY = { true: "abcd-efgh-ijkl", false: "mnop-qrst-uvwx" };

for (const scripts of [true, false]) {
  const how = scripts ? "with scripts" : "without scripts";

  describe(`members, ${how}`, () => {
    let scene;
    before(async () => (scene = await Scene.start({ signin: 'brand.name = "Example"\ncreate_organizations = true' })));
    after(() => scene?.end());
    const play = (name, plays) =>
      test(name, async () => {
        const person = await scene.person({ scripts });
        await plays(person);
        await person.leaves();
      });

    play("one organization is gone into at once", async (gil) => {
      await gil.signIn("/reports?year=2026&q=a%20b", "gil@globex.example");
      const told = await gil.arrives();
      assert.equal(told.url, "/reports?year=2026&q=a%20b");
      assert.equal(told["x-stytch-organization-slug"], "globex");
      assert.equal(told.cookie, undefined);
    });

    play("among several one is chosen, and changed for another later", async (ana) => {
      await ana.signIn("/reports", "ana@acme.example");
      await ana.sees("Choose an organization");
      await ana.press("Globex Corporation");
      assert.equal((await ana.arrives())["x-stytch-organization-slug"], "globex");
      await ana.open("/_stytch/session");
      await ana.sees("You are signed in");
      await ana.page.getByText("ana@acme.example").waitFor();
      await ana.page.getByRole("link", { name: "Switch organization" }).click();
      await ana.press("Acme");
      const told = await ana.arrives();
      assert.deepEqual([told["x-stytch-organization-slug"], told["x-stytch-roles"]], ["acme", "stytch_member,admin"]);
    });

    play("a known organization is not asked for", async (ana) => {
      await ana.signIn("/_stytch/login?organization=acme&return_to=/x", "ana@acme.example");
      const told = await ana.arrives();
      assert.deepEqual([told["x-stytch-organization-slug"], told.url], ["acme", "/x"]);
    });

    play("a text message is the second factor", async (cho) => {
      await cho.signIn("/reports", "cho@acme.example");
      await cho.sees("One more step");
      await cho.page.getByText("••• 23").waitFor();
      await cho.enterCodeOf("+15005550123");
      assert.equal((await cho.arrives())["x-stytch-organization-slug"], "acme");
    });

    play("a recovery code stands in for an app", async (tom) => {
      await tom.signIn("/reports", "tom@acme.example");
      await tom.sees("One more step");
      await tom.press("Use a recovery code instead");
      await tom.fill("Recovery code", RECOVERY[scripts]);
      await tom.press("Continue");
      await tom.sees("You used a recovery code");
      await tom.press("Continue");
      assert.equal((await tom.arrives()).url, "/reports");
    });

    play("a phone becomes the second factor", async (sue) => {
      const phone = scripts ? "+15005550130" : "+15005550131";
      await sue.signIn("/reports", "sue@strict.example");
      await sue.sees("One more step");
      await sue.fill("Mobile number", phone.replace("+1500", "+1 (500) "));
      await sue.press("Text me a code");
      await sue.page.getByLabel("Code", { exact: true }).waitFor();
      await sue.enterCodeOf(phone);
      await sue.arrives();
    });

    play("an authenticator app becomes the second factor, and its codes are kept", async (person) => {
      await person.signIn("/reports", scripts ? "sam@strict.example" : "sid@strict.example");
      await person.sees("One more step");
      await person.press("Set up an authenticator app");
      await person.sees("Set up your authenticator app");
      await person.page.getByRole("img", { name: /QR/ }).waitFor();
      const key = await person.page.locator(".key").innerText();
      await person.fill("Code that the app shows", shownByApp(key.replaceAll(/\s/g, "")));
      await person.press("Continue");
      await person.sees("Keep your recovery codes");
      assert.ok((await person.page.locator(".codes li").count()) >= 8);
      await person.press("I have kept them");
      assert.equal((await person.arrives())["x-stytch-organization-slug"], "strict");
    });

    play("an organization is created", async (zoe) => {
      await zoe.signIn("/reports", "zoe@initech.example");
      await zoe.fill("Name of the organization", scripts ? "Initech" : "Initrode");
      await zoe.press("Create an organization");
      assert.equal((await zoe.arrives())["x-stytch-organization-slug"], scripts ? "initech" : "initrode");
    });

    play("a wrong code is said to be wrong, and the right one still goes", async (ben) => {
      await ben.open("/reports");
      await ben.enterEmail("ben@acme.example");
      await ben.sees("Enter your code");
      await ben.fill("Code", "000000");
      await ben.press("Continue");
      await ben.page.getByText("This code is not right").waitFor();
      const code = await scene.code("ben@acme.example");
      await ben.fill("Code", ` ${code.slice(0, 3)} ${code.slice(3)} `);
      await ben.press("Continue");
      assert.equal((await ben.arrives())["x-stytch-roles"], "stytch_member,editor");
    });

    play("another code takes its time, and another address none", async (ben) => {
      await ben.open("/reports");
      await ben.enterEmail("ben@acme.example");
      await ben.sees("Enter your code");
      await ben.press("Send another code");
      await ben.page.getByText("wait half a minute").waitFor();
      await ben.press("Use another address");
      await ben.sees("Sign in to Example");
      await ben.enterEmail("gil@globex.example");
      await ben.sees("Enter your code");
      await ben.enterCodeOf("gil@globex.example");
      assert.equal((await ben.arrives()).url, "/reports");
    });

    play("a step that was taken is not taken again", async (gil) => {
      await gil.open("/reports");
      const form = await gil.page.locator("form").first().evaluate((form) => form.outerHTML);
      await gil.enterEmail("gil@globex.example");
      await gil.sees("Enter your code");
      // As when the first page was still there, in the cache of another window.
      await gil.page.evaluate((form) => (document.querySelector("main").innerHTML = form), form);
      await gil.enterEmail("gil@globex.example");
      await gil.sees("This page is no longer valid");
      await gil.page.getByRole("link", { name: "Start again" }).click();
      await gil.sees("Sign in to Example");
    });

    play("a session gets the factor that a page asks for", async (cho) => {
      await cho.hasSession({ email: "cho@acme.example", organization: "acme", factors: ["email_otp"] });
      await cho.open("/twice/x");
      await cho.sees("One more step is needed");
      await cho.page.getByRole("link", { name: "Sign in again" }).click();
      await cho.page.getByRole("button", { name: "23" }).click();
      await cho.page.getByLabel("Code", { exact: true }).waitFor();
      await cho.enterCodeOf("+15005550123");
      assert.equal((await cho.arrives()).url, "/twice/x");
    });

    play("a page of another organization leads there", async (ana) => {
      await ana.hasSession({ email: "ana@acme.example", organization: "acme" });
      await ana.open("/org/globex/");
      await ana.page.getByRole("link", { name: "Switch to globex" }).click();
      await ana.press("Globex Corporation");
      assert.equal((await ana.arrives()).url, "/org/globex/");
    });

    play("out again", async (gil) => {
      await gil.hasSession({ email: "gil@globex.example", organization: "globex" });
      await gil.open("/reports");
      await gil.arrives();
      await gil.open("/_stytch/session");
      await gil.press("Sign out");
      await gil.sees("You are signed out");
      await gil.open("/reports");
      await gil.sees("Sign in to Example");
    });
  });

  describe(`users, ${how}`, () => {
    let scene;
    before(async () => {
      const signin = 'brand.name = "Example"\nmethods = ["email_otp", "sms_otp", "whatsapp_otp"]';
      scene = await Scene.start({ vertical: "consumer", signin });
    });
    after(() => scene?.end());

    test("by e-mail, known or not", async () => {
      for (const email of ["uma@example.com", "somebody.new@example.com"]) {
        const person = await scene.person({ scripts });
        await person.signIn("/a", email);
        assert.match((await person.arrives())["x-stytch-user-id"], /^user-test-/);
        await person.leaves();
      }
    });

    test("by text message", async () => {
      const uma = await scene.person({ scripts });
      await uma.open("/a");
      await uma.fill("Mobile number", "+1 (500) 555-0125");
      await uma.press("Text me a code");
      await uma.sees("Enter your code");
      await uma.enterCodeOf("+15005550125");
      assert.equal((await uma.arrives()).url, "/a");
      await uma.leaves();
    });

    test("by WhatsApp", async () => {
      const vic = await scene.person({ scripts });
      await vic.open("/a");
      await vic.fill("Mobile number", "+1 (500) 555-0126");
      await vic.press("Send it by WhatsApp");
      await vic.sees("Enter your code");
      await vic.enterCodeOf("+15005550126");
      assert.equal((await vic.arrives()).url, "/a");
      await vic.leaves();
    });
  });
}
