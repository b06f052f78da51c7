/** Ways in that leave the gateway and come back from another site: providers, single sign-on, links. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Scene } from "./scene.js";

const METHODS = 'methods = ["email_otp", "magic_link", "oauth", "sso"]\noauth_providers = ["google", "github"]';

/** Is at a provider, and is that person there. */
async function be(person, email) {
  await person.page.waitForURL(`${person.scene.providers}/**`);
  await person.page.getByLabel("Somebody else").fill(email);
  await person.page.getByRole("button").click();
}

for (const scripts of [true, false]) {
  describe(`away and back, ${scripts ? "with scripts" : "without scripts"}`, () => {
    let scene;
    before(async () => (scene = await Scene.start({ away: true, signin: `brand.name = "Example"\n${METHODS}` })));
    after(() => scene?.end());
    const play = (name, plays) =>
      test(name, async () => {
        const person = await scene.person({ scripts });
        await plays(person);
        await person.leaves();
      });

    play("OAuth", async (gil) => {
      await gil.open("/reports?a=b");
      await gil.press("Continue with Google");
      await be(gil, "gil@globex.example");
      const told = await gil.arrives();
      assert.deepEqual([told.url, told["x-stytch-organization-slug"]], ["/reports?a=b", "globex"]);
    });

    play("OAuth, with a choice", async (ana) => {
      await ana.open("/reports");
      await ana.press("Continue with GitHub");
      await be(ana, "ana@acme.example");
      await ana.sees("Choose an organization");
      await ana.press("Acme");
      assert.equal((await ana.arrives())["x-stytch-organization-slug"], "acme");
    });

    play("single sign-on", async (kim) => {
      await kim.open("/reports");
      await kim.page.locator("#organization").fill("closed");
      await kim.press("Continue with single sign-on");
      await be(kim, "kim@closed.example");
      assert.equal((await kim.arrives())["x-stytch-organization-slug"], "closed");
    });

    play("a link by e-mail", async (gil) => {
      await gil.open("/reports");
      await gil.fill("E-mail address", "gil@globex.example");
      await gil.press("E-mail me a link");
      await gil.sees("Check your e-mail");
      await gil.page.goto(await scene.link("gil@globex.example"));
      assert.equal((await gil.arrives()).url, "/reports");
    });

    play("a link that is opened elsewhere is brought back", async (ben) => {
      await ben.open("/reports");
      await ben.fill("E-mail address", "ben@acme.example");
      await ben.press("E-mail me a link");
      await ben.sees("Check your e-mail");
      const phone = await scene.person({ scripts });
      await phone.page.goto(await scene.link("ben@acme.example"));
      await phone.sees("Open the link where you asked for it");
      await ben.page.locator("#link").fill(phone.page.url());
      await ben.press("Continue");
      assert.equal((await ben.arrives()).url, "/reports");
      await phone.leaves();
    });
  });
}

test("a user by OAuth", async () => {
  const signin = 'brand.name = "Example"\nmethods = ["magic_link", "oauth"]\noauth_providers = ["google"]';
  const scene = await Scene.start({ away: true, vertical: "consumer", signin });
  try {
    const uma = await scene.person();
    await uma.open("/x");
    await uma.press("Continue with Google");
    await be(uma, "uma@example.com");
    assert.match((await uma.arrives())["x-stytch-user-id"], /^user-test-/);
    await uma.leaves();
  } finally {
    await scene.end();
  }
});
