// Stytch's Node SDK signs Consumer users in.

import assert from "node:assert/strict";
import { test } from "node:test";
import stytch from "stytch";

import {
  CALLBACK,
  CHALLENGE,
  VERIFIER,
  calls,
  code,
  control,
  credentials,
  link,
  totp,
  visit,
} from "./emulator.js";

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

test("magic links and OAuth", async () => {
  const email = "vic@example.com";
  const asked = { email, login_magic_link_url: CALLBACK, code_challenge: CHALLENGE };
  await client.magicLinks.email.loginOrCreate(asked);
  const proof = { code_verifier: VERIFIER, session_duration_minutes: 5 };
  const byLink = await client.magicLinks.authenticate({ token: (await link(email)).token, ...proof });
  assert.equal(byLink.user.emails[0].email, email);
  const { public_token } = await control("GET", "project");
  const who = { public_token, login_redirect_url: CALLBACK, code_challenge: CHALLENGE, as: email };
  const { token } = await visit("/v1/public/oauth/github/start", who);
  const byOauth = await client.oauth.authenticate({ token, ...proof });
  assert.equal(byOauth.provider_type, "GitHub");
  assert.equal(byOauth.user_session.authentication_factors[0].delivery_method, "oauth_github");
});

test("an authenticator app", async () => {
  const { user_id } = await signIn("vic@example.com");
  const { secret, totp_id, recovery_codes } = await client.totps.create({ user_id });
  const proof = { user_id, totp_code: totp(secret), session_duration_minutes: 5 };
  assert.equal((await client.totps.authenticate(proof)).totp_id, totp_id);
  const spare = { user_id, recovery_code: recovery_codes[0], session_duration_minutes: 5 };
  const { session } = await client.totps.recover(spare);
  assert.equal(session.authentication_factors[0].type, "recovery_codes");
});
