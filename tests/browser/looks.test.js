/**
 * Every page at two widths and in two schemes: nothing for axe-core to find, nothing beside the screen,
 * nothing too small for a finger, nothing its policy would have to allow; and a picture of each, in shots,
 * to be looked at.
 */

import assert from "node:assert/strict";
import { mkdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { AWAY_PAGES, BRANDED_PAGES, CREATOR_PAGES, MEMBER_PAGES, USER_PAGES } from "./pages.js";
import { Scene } from "./scene.js";

const SHOTS = path.join(import.meta.dirname, "shots");
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDTHS = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const SCHEMES = ["light", "dark"];
/** The smallest window that people zoom to (WCAG 2.2, 1.4.10). */
const NARROW = { width: 320, height: 568 };
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Pages that are not there any more when they are asked for again. */
const ONCE = new Set(["another way to sign in", "no organization", "unavailable", "in circles", "signed out", "link, elsewhere"]);

async function findings(page) {
  const { violations, incomplete } = await page.evaluate((tags) => {
    return globalThis.axe.run(document, { runOnly: { type: "tag", values: tags } });
  }, RULES);
  return [...violations, ...incomplete].map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
}

/** What a policy without `unsafe-inline` would not let be. */
function loose(page) {
  return page.evaluate(() => {
    const attributes = [...document.querySelectorAll("*")].flatMap((element) => element.getAttributeNames());
    const forbidden = attributes.filter((name) => name === "style" || name.startsWith("on"));
    return [...forbidden, ...Array.from(document.scripts, (script) => script.outerHTML)];
  });
}

/** What a finger would miss, and what is wider than the window. */
function misfits(page) {
  return page.evaluate(() => {
    const shown = [...document.querySelectorAll("a, button, input:not([type=hidden])")];
    const small = shown.filter((element) => element.getBoundingClientRect().height < 44);
    const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
    return [...small.map((element) => element.outerHTML), ...(wide ? ["wider than the window"] : [])];
  });
}

async function look(page, name) {
  // Not as a script of the page's, which its policy forbids.
  await page.evaluate(AXE);
  for (const [width, size] of Object.entries(WIDTHS)) {
    for (const scheme of SCHEMES) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme: scheme });
      assert.deepEqual(await findings(page), [], `${name}, ${width}, ${scheme}`);
      await picture(page, `${name}.${width}.${scheme}`);
    }
  }
  await fits(page, name);
}

function picture(page, name) {
  return page.screenshot({ path: path.join(SHOTS, `${name.replaceAll(/[^a-z.]+/g, "-")}.png`) });
}

async function fits(page, name) {
  await page.setViewportSize(NARROW);
  assert.deepEqual(await misfits(page), [], name);
}

/** The same page in other languages, where asking for it again shows it again. */
async function translated(person, name) {
  const { page } = person;
  const heading = await person.heading();
  for (const language of ["de", "fr", "es"]) {
    await person.context.setExtraHTTPHeaders({ "accept-language": language });
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.lang), language, name);
    assert.notEqual(await person.heading(), heading);
    await fits(page, `${name}, ${language}`);
    if (language === "de") {
      await page.setViewportSize(WIDTHS.phone);
      await picture(page, `${name}.phone.de`);
    }
  }
}

function every(settings, pages, suffix) {
  describe(`pages ${suffix}`, () => {
    let scene;
    before(async () => {
      await mkdir(SHOTS, { recursive: true });
      scene = await Scene.start(settings);
    });
    after(() => scene?.end());
    for (const [name, reach] of Object.entries(pages)) {
      test(name, async () => {
        const person = await scene.person({ locale: null });
        let policy;
        person.page.on("response", (response) => {
          if (response.request().isNavigationRequest()) policy = response.headers()["content-security-policy"];
        });
        await reach(person);
        assert.match(policy, /^default-src 'none'; .*frame-ancestors 'none'/);
        assert.doesNotMatch(policy, /unsafe/);
        assert.deepEqual(await loose(person.page), []);
        await look(person.page, name);
        if (!name.startsWith("refused") && !ONCE.has(name)) await translated(person, name);
        await person.leaves();
      });
    }
  });
}

await rm(SHOTS, { recursive: true, force: true });
every({ signin: 'brand.name = "Example"' }, MEMBER_PAGES, "of members");
every({ signin: 'brand.name = "Example"\ncreate_organizations = true' }, CREATOR_PAGES, "of creators");
every({ vertical: "consumer", signin: 'methods = ["email_otp", "sms_otp"]' }, USER_PAGES, "of users");
const METHODS = 'methods = ["email_otp", "magic_link", "oauth", "sso"]\noauth_providers = ["google", "microsoft"]';
every({ away: true, signin: `brand.name = "Example"\n${METHODS}` }, AWAY_PAGES, "from which people leave");
const LOGO = `brand.logo = "${path.join(import.meta.dirname, "logo.svg")}"\nbrand.accent = "#ffd400"`;
every({ signin: `brand.name = "Example"\n${LOGO}` }, BRANDED_PAGES, "with a logo");
