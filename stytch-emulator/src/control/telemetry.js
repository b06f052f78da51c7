// Stands in for Stytch's script: tells one browser from another by what it keeps itself.
"use strict";
window.GetTelemetryID = async ({ publicToken, submitURL }) => {
  const name = "stytch-emulator-visitor";
  const known = localStorage.getItem(name) ?? `visitor-${crypto.randomUUID()}`;
  localStorage.setItem(name, known);
  const body = JSON.stringify({ public_token: publicToken, visitor_id: known });
  const answer = await fetch(submitURL, { method: "POST", body, credentials: "omit" });
  if (!answer.ok) throw new Error(`${submitURL}: ${answer.status}`);
  return answer.text();
};
