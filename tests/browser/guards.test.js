/** What other sites can make a browser do here: nothing. And what the pages may do: very little. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";

import { Scene } from "./scene.js";

/** Another site than `localhost` is, though on the same machine. */
async function site(body) {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>Another site</title>${body}`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://another.localhost:${server.address().port}` };
}

describe("guards", () => {
  let scene;
  before(async () => (scene = await Scene.start({ signin: 'brand.name = "Example"' })));
  after(() => scene?.end());

  async function visited(body, visit) {
    const { server, origin } = await site(body);
    const person = await scene.person();
    try {
      await visit(person, origin);
    } finally {
      server.close();
      await person.context.close();
    }
  }

  test("the policy holds", async () => {
    const person = await scene.person();
    await person.open("/_stytch/login");
    await person.page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "globalThis.ran = true";
      document.body.append(script);
      document.body.insertAdjacentHTML("beforeend", '<p id="loose" style="color: rgb(1, 2, 3)">x</p>');
    });
    assert.equal(await person.page.evaluate(() => globalThis.ran), undefined);
    const colour = await person.page.locator("#loose").evaluate((element) => getComputedStyle(element).color);
    assert.notEqual(colour, "rgb(1, 2, 3)");
    assert.ok(person.complaints.length >= 2, "Chromium has said so, where the tests listen");
    await person.context.close();
  });

  test("no page is shown in a frame", async () => {
    for (const place of ["login", "logout", "session", "organizations", "nothing"]) {
      const frame = `<iframe src="${scene.origin}/_stytch/${place}"></iframe>`;
      await visited(frame, async (person, origin) => {
        await person.hasSession(scene.anybody);
        await person.page.goto(origin);
        const [, inner] = person.page.frames();
        await inner.waitForLoadState();
        assert.equal(await inner.locator("main").count(), 0, place);
      });
    }
  });

  test("another site's form neither begins a sign-in nor ends a session", async () => {
    const ask = (action, fields) =>
      `<form method="post" action="${scene.origin}${action}">${fields}<button>Go</button></form>`;
    const email = '<input type="hidden" name="action" value="email"><input name="email" value="ben@acme.example">';
    for (const form of [ask("/_stytch/logout", ""), ask("/_stytch/login", email), ask("/_stytch/organizations", "")]) {
      await visited(form, async (person, origin) => {
        await person.hasSession(scene.anybody);
        await person.page.goto(origin);
        const [answer] = await Promise.all([
          person.page.waitForResponse((response) => response.request().method() === "POST"),
          person.page.getByRole("button").click(),
        ]);
        assert.equal(answer.status(), 403);
        await person.open("/reports");
        await person.arrives();
      });
    }
  });

  test("a link from another site finds one signed in, and signs nobody out", async () => {
    await visited(`<a href="${scene.origin}/_stytch/logout">Go</a>`, async (person, origin) => {
      await person.hasSession(scene.anybody);
      await person.page.goto(origin);
      await person.page.getByRole("link").click();
      await person.sees("Sign out");
      await person.open("/reports");
      await person.arrives();
    });
  });

  test("a sign-in that goes in circles ends in a page that says why", async () => {
    const person = await scene.person();
    await person.hasSession(scene.anybody);
    await person.open("/circle");
    await person.sees("Signing in goes round in circles");
    await person.page.getByText("takes the session, and what it protects does not").waitFor();
    await person.leaves();
  });
});
