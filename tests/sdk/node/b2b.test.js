// Stytch's Node SDK signs members in.

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
  organizationId,
  post,
  totp,
  visit,
} from "./emulator.js";

const client = new stytch.B2BClient(await credentials());

async function signIn(email_address, extra = {}, organization_id = "acme") {
  await client.otps.email.loginOrSignup({ organization_id, email_address });
  const proof = { organization_id, email_address, code: await code(email_address) };
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

test("machines get tokens that are verified locally", async () => {
  const { m2m_clients } = await control("GET", "world");
  const { client_id, client_secret } = m2m_clients[0];
  const { access_token } = await client.m2m.token({ client_id, client_secret, scopes: ["read:reports"] });
  const seen = await client.m2m.authenticateToken({ access_token, required_scopes: ["read:reports"] });
  assert.deepEqual(seen, { client_id, scopes: ["read:reports"], custom_claims: {} });
  const more = client.m2m.authenticateToken({ access_token, required_scopes: ["write:reports"] });
  await assert.rejects(more, { code: "missing_scopes" });
  await assert.rejects(client.m2m.token({ client_id, client_secret: "x" }), {
    status_code: 400,
    error_type: "invalid_client",
  });
});

test("an app gets a token that is introspected", async () => {
  const { project_id } = await control("GET", "project");
  const { client_id } = await post("/v1/oauth2/register", {
    redirect_uris: [CALLBACK],
    token_endpoint_auth_method: "none",
  });
  const at = `/v1/public/${project_id}/oauth2`;
  const told = await visit(`${at}/authorize`, {
    response_type: "code",
    client_id,
    scope: "openid email",
    code_challenge: CHALLENGE,
    code_challenge_method: "S256",
    as: "ben@acme.example",
  });
  const grant = { grant_type: "authorization_code", client_id, code_verifier: VERIFIER };
  const { access_token } = await post(`${at}/token`, { ...grant, code: told.code });
  const local = await client.idp.introspectTokenLocal(access_token);
  const remote = await client.idp.introspectTokenNetwork({ token: access_token, client_id });
  for (const seen of [local, remote]) {
    assert.equal(seen.scope, "openid email");
    assert.equal(seen.organization.slug, "acme");
  }
  await post(`${at}/revoke`, { token: access_token, client_id });
  const revoked = client.idp.introspectTokenNetwork({ token: access_token, client_id });
  await assert.rejects(revoked, { code: "token_invalid" });
});

test("magic links", async () => {
  const email_address = "ana@acme.example";
  await client.magicLinks.email.loginOrSignup({
    organization_id: "acme",
    email_address,
    login_redirect_url: CALLBACK,
    pkce_code_challenge: CHALLENGE,
  });
  const { token, stytch_token_type } = await link(email_address);
  assert.equal(stytch_token_type, "multi_tenant_magic_links");
  const proof = { magic_links_token: token, pkce_code_verifier: VERIFIER };
  const { member_session } = await client.magicLinks.authenticate(proof);
  assert.equal(member_session.authentication_factors[0].type, "magic_link");
  await client.magicLinks.email.discovery.send({ email_address, discovery_redirect_url: CALLBACK });
  const found = await client.magicLinks.discovery.authenticate({
    discovery_magic_links_token: (await link(email_address)).token,
  });
  assert.equal(found.discovered_organizations.length, 2);
});

test("OAuth and single sign-on", async () => {
  const { public_token } = await control("GET", "project");
  const who = { public_token, login_redirect_url: CALLBACK, as: "ben@acme.example" };
  const challenged = { ...who, slug: "acme", pkce_code_challenge: CHALLENGE };
  const { token } = await visit("/v1/b2b/public/oauth/google/start", challenged);
  const byOauth = await client.oauth.authenticate({ oauth_token: token, pkce_code_verifier: VERIFIER });
  assert.equal(byOauth.provider_type, "Google");
  assert.equal(byOauth.member_authenticated, true);
  const back = await visit("/v1/b2b/public/oauth/google/discovery/start", who);
  const found = await client.oauth.discovery.authenticate({ discovery_oauth_token: back.token });
  assert.equal(found.email_address, "ben@acme.example");
  const { saml_connections } = await client.sso.getConnections({ organization_id: "acme" });
  const { connection_id } = saml_connections[0];
  const landed = await visit("/v1/public/sso/start", { ...who, connection_id });
  const { member_session } = await client.sso.authenticate({ sso_token: landed.token });
  assert.equal(member_session.authentication_factors[0].delivery_method, "sso_saml");
});

test("an authenticator app and recovery codes", async () => {
  const { member_id, session_token } = await signIn("gil@globex.example", {}, "globex");
  const who = { organization_id: "globex", member_id };
  const made = await client.totps.create({ ...who, session_token });
  const proof = { ...who, code: totp(made.secret), session_token };
  const { member_session } = await client.totps.authenticate(proof);
  const types = member_session.authentication_factors.map((factor) => factor.type);
  assert.deepEqual(types, ["email_otp", "totp"]);
  const { recovery_codes } = await client.recoveryCodes.get(who);
  assert.deepEqual(recovery_codes, made.recovery_codes);
  const recovered = await client.recoveryCodes.recover({
    ...who,
    recovery_code: recovery_codes[0],
    session_token,
  });
  assert.equal(recovered.recovery_codes_remaining, 9);
});
