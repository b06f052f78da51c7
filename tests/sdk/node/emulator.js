// The emulator that `tests/sdk/run` started, and ways to give it orders.

import { createHmac } from "node:crypto";

const url = process.env.EMULATOR_URL;

// RFC 7636, appendix B.
export const VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
export const CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
export const CALLBACK = "http://127.0.0.1:9/callback";

export async function control(method, path, body) {
  const response = await fetch(`${url}/emulator/${path}`, { method, body: body && JSON.stringify(body) });
  const text = await response.text();
  return text ? JSON.parse(text) : undefined;
}

// Arguments for a client. `custom_base_url` insists on https, `env` does not.
export async function credentials() {
  const { project_id, secret } = await control("GET", "project");
  return { project_id, secret, env: `${url}/` };
}

// The newest code sent to an address or a number.
export async function code(to) {
  const [message] = await control("GET", `outbox?to=${encodeURIComponent(to)}`);
  return message.code;
}

export async function calls(path) {
  return (await control("GET", `requests?path=${path}`)).length;
}

export async function organizationId(slug) {
  const { organizations } = await control("GET", "world");
  return organizations.find((one) => one.organization_slug === slug).organization_id;
}

// What the newest link sent to an address says in its query.
export async function link(to) {
  const [message] = await control("GET", `outbox?to=${encodeURIComponent(to)}`);
  return Object.fromEntries(new URL(message.url).searchParams);
}

// Where a page redirects a browser to, as the query it arrives with.
export async function visit(path, query) {
  const answer = await fetch(`${url}${path}?${new URLSearchParams(query)}`, { redirect: "manual" });
  return Object.fromEntries(new URL(answer.headers.get("location")).searchParams);
}

export async function post(path, fields) {
  const answer = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(fields) });
  return answer.json();
}

// What an authenticator app shows now (RFC 6238).
export function totp(secret) {
  const digits = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"];
  const bits = [...secret].map((digit) => digits.indexOf(digit).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const digest = createHmac("sha1", key).update(step).digest();
  const number = digest.readUInt32BE(digest[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}
