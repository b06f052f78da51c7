// Stytch's Node SDK signs Consumer users in.

import assert from "node:assert/strict";
import { test } from "node:test";
import stytch from "stytch";

import { calls, code, credentials } from "./emulator.js";

const client = new stytch.Client(await credentials());

async function signIn(email) {
  const { email_id } = await client.otps.email.loginOrCreate({ email });
  const proof = { method_id: email_id, code: await code(email) };
  return client.otps.authenticate({ ...proof, session_duration_minutes: 60 });
}

test("sign in, authenticate, list and revoke", async () => {
  const { session_token } = await signIn("uma@example.com");
  const seen = await client.sessions.authenticate({ session_token });
  const { user_id, emails } = seen.user;
  assert.equal(emails[0].email, "uma@example.com");
  const { sessions } = await client.sessions.get({ user_id });
  assert.ok(sessions.some((one) => one.session_id === seen.session.session_id));
  assert.equal((await client.users.get({ user_id })).status, "active");
  await client.sessions.revoke({ session_id: seen.session.session_id });
  const gone = client.sessions.authenticate({ session_jwt: seen.session_jwt });
  await assert.rejects(gone, { error_type: "session_not_found" });
});

test("a JWT is verified locally and its roles checked", async () => {
  const { session_jwt } = await signIn("vic@example.com");
  const before = await calls("/v1/sessions/authenticate");
  const check = (action) =>
    client.sessions.authenticateJwtLocal({
      session_jwt,
      authorization_check: { resource_id: "documents", action },
    });
  assert.deepEqual((await check("read")).roles, ["stytch_user"]);
  await assert.rejects(check("write"), { code: "invalid_permissions" });
  assert.equal(await calls("/v1/sessions/authenticate"), before);
});

test("an unknown number is created", async () => {
  const { phone_id } = await client.otps.whatsapp.loginOrCreate({ phone_number: "+15005550151" });
  const { user } = await client.otps.authenticate({ method_id: phone_id, code: await code("+15005550151") });
  assert.equal(user.phone_numbers[0].verified, true);
});

test("wrong credentials are refused", async () => {
  const stranger = new stytch.Client({ ...(await credentials()), secret: "secret-test-wrong" });
  await assert.rejects(stranger.otps.email.loginOrCreate({ email: "uma@example.com" }), {
    error_type: "unauthorized_credentials",
  });
});
