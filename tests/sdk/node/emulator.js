// The emulator that `tests/sdk/run` started, and ways to give it orders.

const url = process.env.EMULATOR_URL;

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
