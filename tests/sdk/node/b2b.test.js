// Stytch's Node SDK signs members in.

import assert from "node:assert/strict";
import { test } from "node:test";
import stytch from "stytch";

import { calls, code, control, credentials, organizationId } from "./emulator.js";

const client = new stytch.B2BClient(await credentials());

async function signIn(email_address, extra = {}) {
  await client.otps.email.loginOrSignup({ organization_id: "acme", email_address });
  const proof = { organization_id: "acme", email_address, code: await code(email_address) };
  return client.otps.email.authenticate({ ...proof, ...extra });
}

test("sign in, authenticate, list and revoke", async () => {
  const signedIn = await signIn("ana@acme.example", { session_custom_claims: { plan: "pro" } });
  assert.equal(signedIn.member_authenticated, true);
  const seen = await client.sessions.authenticate({ session_token: signedIn.session_token });
  assert.deepEqual(seen.member_session.roles, ["stytch_member", "admin"]);
  assert.deepEqual(seen.member_session.custom_claims, { plan: "pro" });
  const listed = await client.sessions.get({ organization_id: "acme", member_id: signedIn.member_id });
  const ids = listed.member_sessions.map((one) => one.member_session_id);
  assert.ok(ids.includes(seen.member_session.member_session_id));
  await client.sessions.revoke({ session_jwt: seen.session_jwt });
  await assert.rejects(client.sessions.authenticate({ session_token: signedIn.session_token }), {
    error_type: "session_not_found",
    status_code: 404,
  });
});

test("a JWT is verified locally", async () => {
  const { session_jwt, member_id } = await signIn("ben@acme.example");
  const before = await calls("/v1/b2b/sessions/authenticate");
  const session = await client.sessions.authenticateJwtLocal({ session_jwt });
  assert.equal(session.member_id, member_id);
  assert.equal(session.organization_slug, "acme");
  assert.equal(await calls("/v1/b2b/sessions/authenticate"), before);
});

test("roles are checked locally", async () => {
  const { session_jwt } = await signIn("ben@acme.example");
  const check = (organization_id, resource_id, action) =>
    client.sessions.authenticateJwtLocal({
      session_jwt,
      authorization_check: { organization_id, resource_id, action },
    });
  const [acme, globex] = [await organizationId("acme"), await organizationId("globex")];
  await check(acme, "documents", "write");
  await assert.rejects(check(acme, "billing", "pay"), { code: "invalid_permissions" });
  await assert.rejects(check(globex, "documents", "write"), { code: "tenancy_mismatch" });
});

test("roles are checked remotely", async () => {
  const { session_jwt } = await signIn("ben@acme.example");
  const check = (action) => ({ organization_id: "acme", resource_id: "documents", action });
  const seen = await client.sessions.authenticate({ session_jwt, authorization_check: check("write") });
  assert.deepEqual(seen.verdict.granting_roles, ["editor"]);
  const refused = client.sessions.authenticate({ session_jwt, authorization_check: check("delete") });
  await assert.rejects(refused, { error_type: "session_authorization_error", status_code: 403 });
});

test("a foreign JWT is refused, locally and by the API", async () => {
  const { project_id } = await credentials();
  const claims = { iss: `stytch.com/${project_id}`, aud: [project_id], sub: "member-test-x" };
  const { token } = await control("POST", "tokens", { claims, key: "foreign" });
  await assert.rejects(client.sessions.authenticateJwt({ session_jwt: token }), {
    error_type: "unable_to_parse_session_jwt",
  });
});

test("discovery and a second factor", async () => {
  const email_address = "cho@acme.example";
  await client.otps.email.discovery.send({ email_address });
  const proof = { email_address, code: await code(email_address) };
  const { intermediate_session_token } = await client.otps.email.discovery.authenticate(proof);
  const first = await client.discovery.intermediateSessions.exchange({
    intermediate_session_token,
    organization_id: "acme",
  });
  assert.equal(first.member_authenticated, false);
  const second = await client.otps.sms.authenticate({
    organization_id: "acme",
    member_id: first.member_id,
    code: await code(first.mfa_required.member_options.mfa_phone_number),
    intermediate_session_token: first.intermediate_session_token,
  });
  assert.equal(second.member_session.authentication_factors.length, 2);
});
