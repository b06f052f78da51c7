// Asks Stytch's script for the id of this device, and hands it to the gateway with each form.
//
// What holds: whatever becomes of that script, a form is sent, at the latest after PATIENCE.
"use strict";
(() => {
  const PATIENCE = 3000;
  // An id is good for some minutes, and people take their time with a code.
  const FRESH = 60_000;
  const { publicToken, submit } = document.currentScript.dataset;
  const [waiting, asked] = [new WeakSet(), new WeakSet()];
  let last;

  if (typeof window.GetTelemetryID !== "function" || !HTMLFormElement.prototype.requestSubmit) return;

  async function ask() {
    try {
      return await window.GetTelemetryID({ publicToken, submitURL: submit });
    } catch {
      last = undefined;
      return undefined;
    }
  }

  function id() {
    if (!last || Date.now() - last.at > FRESH) last = { at: Date.now(), answer: ask() };
    return Promise.race([last.answer, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  }

  function put(form, value) {
    let field = form.elements.namedItem("telemetry_id");
    if (!field) {
      field = document.createElement("input");
      Object.assign(field, { type: "hidden", name: "telemetry_id" });
      form.append(field);
    }
    field.value = value;
  }

  document.addEventListener("submit", async (event) => {
    const { target: form, submitter } = event;
    if (asked.delete(form)) return;
    event.preventDefault();
    if (waiting.has(form)) return;
    waiting.add(form);
    const value = await id();
    waiting.delete(form);
    if (typeof value === "string") put(form, value);
    // In a task of its own: while the event is still under way, a form is not submitted again.
    setTimeout(() => {
      asked.add(form);
      form.requestSubmit(submitter);
    });
  });

  id();
})();
