/**
 * Every page there is, and how a person gets to see it. To `reach` one leaves it open; what it shows is
 * in the language that the person's browser asks for, so nothing here goes by the words on a page.
 */

import { createHmac } from "node:crypto";

const LONG = "bartholomew.featherstonehaugh-cholmondeley.the.third@subsidiary-of-a-company.example";

/** Sends the form that has the field, or the button's own. */
async function submit(person, field, text, action = undefined) {
  await person.page.locator(`#${field}`).fill(text);
  await person.page.locator(`form:has(#${field}) button${action ? `[value="${action}"]` : ""}`).click();
}

async function click(person, action) {
  await person.page.locator(`button[value="${action}"]`).click();
}

async function toCode(person, email, query = "") {
  await person.open(`/_stytch/login${query}`);
  await submit(person, "email", email);
  await person.page.locator("#code").waitFor();
}

async function pastCode(person, email, query = "") {
  await toCode(person, email, query);
  await submit(person, "code", await person.scene.code(email));
}

/** What an authenticator app shows now (RFC 6238). */
function appCode(key) {
  const bits = [...key].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const secret = Buffer.from(bits.join("").match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const tag = createHmac("sha1", secret).update(step).digest();
  const number = tag.readUInt32BE(tag[19] & 0xf) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

const at = (person, selector) => person.page.locator(selector).first().waitFor();

export const MEMBER_PAGES = {
  start: (person) => person.open("/_stytch/login"),
  "start, wrong address": async (person) => {
    await person.open("/_stytch/login");
    await submit(person, "email", "ana at acme");
    await at(person, "#email-error");
  },
  "start, cookies not kept": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    await person.open("/_stytch/login");
    await person.forgets(/^stytch_session/);
    await person.open("/_stytch/login");
    await at(person, "#notice");
  },
  code: (person) => toCode(person, "ben@acme.example"),
  "code, wrong": async (person) => {
    await toCode(person, LONG);
    await submit(person, "code", "000000");
    await at(person, "#code-error");
  },
  "code, wait": async (person) => {
    await toCode(person, "ben@acme.example");
    await click(person, "resend");
    await at(person, "#notice");
  },
  choose: async (person) => {
    await pastCode(person, LONG);
    await at(person, ".choices");
  },
  "choose, failed": async (person) => {
    await pastCode(person, "ana@acme.example");
    await at(person, ".choices");
    const nobodys = (button) => (button.value = "organization-test-nobodys");
    await person.page.locator(".choices button").first().evaluate(nobodys);
    await person.page.locator(".choices button").first().click();
    await at(person, "#notice");
  },
  "second factor, text message": async (person) => {
    await pastCode(person, "cho@acme.example");
    await at(person, "#code");
  },
  "second factor, text message, wrong": async (person) => {
    await pastCode(person, "cho@acme.example");
    await submit(person, "code", "12345x");
    await at(person, "#code-error");
  },
  "second factor, app": async (person) => {
    await pastCode(person, "tom@acme.example");
    await at(person, "#code");
  },
  "second factor, recovery code": async (person) => {
    await pastCode(person, "tom@acme.example");
    await click(person, "recovery");
    await at(person, "#code.words");
  },
  "second factor, a phone to add": async (person) => {
    await pastCode(person, "sue@strict.example");
    await at(person, "#phone");
  },
  "second factor, wrong phone": async (person) => {
    await pastCode(person, "sue@strict.example");
    await submit(person, "phone", "12345");
    await at(person, "#phone-error");
  },
  "second factor, an app to set up": async (person) => {
    await pastCode(person, "sue@strict.example");
    await click(person, "new_app");
    await at(person, ".qr");
  },
  "second factor, a wrong first code": async (person) => {
    await pastCode(person, "sue@strict.example");
    await click(person, "new_app");
    await at(person, ".qr");
    await submit(person, "code", "000000");
    await at(person, "#code-error");
  },
  "recovery codes to keep": async (person) => {
    await pastCode(person, "una@strict.example");
    await click(person, "new_app");
    const key = await person.page.locator(".key").textContent();
    await submit(person, "code", appCode(key.replaceAll(" ", "")));
    await at(person, ".codes");
  },
  "recovery codes left": async (person) => {
    await pastCode(person, "pip@acme.example");
    await click(person, "recovery");
    await submit(person, "code", "abcd-efgh-ijkl");
    await at(person, 'button[value="new_codes"]');
  },
  "choose, joining": async (person) => {
    await pastCode(person, "joe@open.example");
    await at(person, ".choices .hint");
  },
  "another way to sign in": async (person) => {
    await pastCode(person, "kim@closed.example");
    await person.heading();
  },
  "no organization": async (person) => {
    await pastCode(person, "nobody@nowhere.example");
    await person.heading();
  },
  stale: (person) => person.open("/_stytch/login?flow=gone"),
  unavailable: async (person) => {
    await toCode(person, "gil@globex.example");
    await person.scene.fault("/v1/b2b/otps/", 500);
    await submit(person, "code", "123456");
    await at(person, "a.button");
    await person.scene.fault();
  },
  "in circles": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    for (let visit = 0; visit < 4; visit += 1) await person.open("/_stytch/login");
  },
  session: async (person) => {
    await person.hasSession({ email: LONG, organization: "long" });
    await person.open("/_stytch/session");
  },
  "sign out": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    await person.open("/_stytch/logout");
  },
  "signed out": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    await person.open("/_stytch/logout");
    await person.page.locator("button").click();
    await at(person, "a.button");
  },
  organizations: async (person) => {
    await person.hasSession({ email: LONG, organization: "long" });
    await person.open("/_stytch/organizations");
  },
  "refused, role": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    await person.open("/admin/");
  },
  "refused, sign-in required": (person) => person.open("/scripts-only/"),
  "refused, no such page": (person) => person.open("/_stytch/nothing"),
  "refused, application gone": (person) => person.open("/broken/"),
};

/** With `create_organizations`. */
export const CREATOR_PAGES = {
  "choose, or create": async (person) => {
    await pastCode(person, "joe@open.example");
    await at(person, 'button[value="create"]');
  },
  "create an organization": async (person) => {
    await pastCode(person, "nobody@nowhere.example");
    await at(person, "#slug");
  },
  "create, name taken": async (person) => {
    await pastCode(person, "nobody@nowhere.example");
    await person.page.locator("#name").fill("Acme & Daughters");
    await submit(person, "slug", "acme");
    await at(person, "#slug-error");
  },
  "organizations, or create": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    await person.open("/_stytch/organizations");
  },
};

export const USER_PAGES = {
  "start, users": (person) => person.open("/_stytch/login"),
  "start, users, wrong phone": async (person) => {
    await person.open("/_stytch/login");
    await submit(person, "phone", "0151 23456789");
    await at(person, "#phone-error");
  },
  "code, users": async (person) => {
    await person.open("/_stytch/login");
    await submit(person, "phone", "+1 500 555 0125");
    await at(person, "#code");
  },
  "session, users": async (person) => {
    await person.hasSession({ email: "uma@example.com" });
    await person.open("/_stytch/session");
  },
};

export const AWAY_PAGES = {
  "start, every way": (person) => person.open("/_stytch/login"),
  "start, no single sign-on": async (person) => {
    await person.open("/_stytch/login");
    await submit(person, "organization", "globex");
    await at(person, "#organization-error");
  },
  link: async (person) => {
    await person.open("/_stytch/login");
    await submit(person, "email", LONG, "link");
    await at(person, "#link");
  },
  "link, wrong": async (person) => {
    await person.open("/_stytch/login");
    await submit(person, "email", "gil@globex.example", "link");
    await submit(person, "link", "nonsense");
    await at(person, "#link-error");
  },
  "link, elsewhere": async (person) => {
    await person.open("/_stytch/login");
    await submit(person, "email", "gil@globex.example", "link");
    await at(person, "#link");
    const link = await person.scene.link("gil@globex.example");
    await person.forgets(/./);
    await person.page.goto(link);
  },
  connections: async (person) => {
    await person.open("/_stytch/login?organization=branches");
    await click(person, "sso");
    await at(person, "button[name=connection]");
  },
  "step up": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    await person.open("/twice/");
  },
  "step up, how": async (person) => {
    await person.hasSession({ email: "cho@acme.example", organization: "acme", factors: ["email_otp"] });
    await person.open("/twice/");
    await person.page.locator("a").click();
    await at(person, 'button[value="sms"]');
  },
  "step up, code": async (person) => {
    await person.hasSession({ email: "cho@acme.example", organization: "acme", factors: ["email_otp"] });
    await person.open("/twice/");
    await person.page.locator("a").click();
    await click(person, "sms");
    await at(person, "#code");
  },
  "step up, no way": async (person) => {
    await person.hasSession({ email: "ben@acme.example", organization: "acme" });
    await person.open("/twice/");
    await person.page.locator("a").click();
    await at(person, "button");
  },
  "another organization": async (person) => {
    await person.hasSession({ email: "ana@acme.example", organization: "acme" });
    await person.open("/org/globex/");
  },
};

/** With a logo and a bright accent. */
export const BRANDED_PAGES = {
  "start, branded": (person) => person.open("/_stytch/login"),
  "code, branded": (person) => toCode(person, "ben@acme.example"),
};
