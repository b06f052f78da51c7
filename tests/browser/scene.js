/**
 * What the tests of the pages play on: the emulator, an application, the gateway between them as their
 * own processes, and Chromium, in which every host but `localhost` and those below it leads to a tripwire.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const { BUILT, CHROMIUM } = process.env;
/** Nothing takes that long, but on a machine that has much else to do. */
const PATIENCE = 60_000;

/** Sign-in with the limits on one address out of the way, unless a test is about them. */
const settings = (rate) => `
[admin]
listen = "127.0.0.1:0"
[telemetry]
access_log = "off"
[rate_limit]
sign_in = "${rate}"
failures = "off"
`;
const MEMBERS_ROUTES = `
[[routes]]
path = "/org/{org}/*"
upstream = "app"
allow.organizations = ["{org}"]
`;
const ROUTES = `
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/admin/*"
upstream = "app"
allow.roles = ["admin"]
[[routes]]
path = "/twice/*"
upstream = "app"
allow.mfa = true
[[routes]]
path = "/scripts-only/*"
upstream = "app"
on_unauthenticated = "401"
[[routes]]
path = "/public/*"
upstream = "app"
auth = "none"
[[routes]]
path = "/broken/*"
upstream = "nowhere"
auth = "none"
`;

/** Where Chromium itself goes, whoever uses it. */
const ITS_OWN = ["google.com", "googleapis.com", "gvt1.com", "gstatic.com"].map((name) => `MAP *.${name} ~NOTFOUND`);

/** Programs that run, which must not outlive the tests that are told to stop. */
const children = new Set();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    for (const child of children) child.kill("SIGKILL");
    process.exit(1);
  });
}

/** Starts a program and resolves with it, the line it was waited for, and all lines so far. */
async function started(program, args, wanted, stream, environment = {}) {
  const child = spawn(path.join(BUILT, program), args, {
    env: { ...process.env, ...environment },
    stdio: ["ignore", stream === "stdout" ? "pipe" : "ignore", stream === "stderr" ? "pipe" : "inherit"],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  const lines = [];
  const found = new Promise((resolve, reject) => {
    createInterface(child[stream]).on("line", (line) => {
      lines.push(line);
      if (line.includes(wanted)) resolve(line);
    });
    child.once("exit", () => reject(new Error(`${program} ended: ${lines.join("\n")}`)));
    setTimeout(() => reject(new Error(`${program} did not start: ${lines.join("\n")}`)), PATIENCE).unref();
  });
  try {
    return { child, line: await found, lines };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

async function stopped(child) {
  if (child.exitCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
  await gone;
  clearTimeout(timer);
}

async function listening(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

/** Where nobody listens, a moment later. */
async function freePort() {
  const server = createTcpServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Shows on a page what it was told about its caller. */
function application() {
  return createServer((request, response) => {
    // As an application does that asks for a sign-in whoever is there.
    if (request.url === "/circle") {
      response.writeHead(303, { location: "/_stytch/login?return_to=/circle" }).end();
      return;
    }
    const told = { method: request.method, url: request.url };
    for (const [name, value] of Object.entries(request.headers)) {
      if (name.startsWith("x-stytch-") || name === "cookie") told[name] = value;
    }
    const text = JSON.stringify(told).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(
      `<!doctype html><html lang="en"><title>Application</title>` +
        `<link rel="icon" href="data:,"><h1>Application</h1><pre id="told">${text}</pre></html>`,
    );
  });
}

/** Counts who comes, in whatever protocol. */
function tripwire() {
  const server = createTcpServer((socket) => {
    server.trips += 1;
    socket.on("error", () => {});
    socket.end("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\nleft");
  });
  server.trips = 0;
  return server;
}

export class Scene {
  /**
   * `vertical` is "b2b" or "consumer"; `signin` and `more` are TOML, the latter whole tables, the former with
   * `$STYTCH` for where the emulator is. With `away`
   * people can sign in at providers, whose part the emulator plays, too; `rate` is of attempts from one address.
   */
  static async start({ vertical = "b2b", signin = "", more = "", away = false, rate = "off" } = {}) {
    const scene = new Scene();
    try {
      await scene.#start(vertical, signin, more, away, rate);
    } catch (error) {
      await scene.end();
      throw error;
    }
    return scene;
  }

  async #start(vertical, signin, more, away, rate) {
    this.directory = await mkdtemp(path.join(tmpdir(), "stytch-gateway-browser-"));
    /** Whoever may be signed in without further ado. */
    this.anybody =
      vertical === "b2b" ? { email: "ana@acme.example", organization: "acme" } : { email: "uma@example.com" };
    this.application = application();
    this.tripwire = tripwire();
    const [port, trip] = [await listening(this.application), await listening(this.tripwire)];
    const seed = path.join(import.meta.dirname, "world.toml");
    const emulator = await started(
      "stytch-emulator",
      ["--listen", "127.0.0.1:0", "--seed", seed],
      "API_URL=",
      "stdout",
    );
    this.emulatorProcess = emulator.child;
    const environment = Object.fromEntries(
      emulator.lines.filter((line) => line.includes("=")).map((line) => line.trim().split(/=(.*)/s, 2)),
    );
    this.stytch = environment.STYTCH_GATEWAY_STYTCH__API_URL;
    const config = path.join(this.directory, "gateway.toml");
    const [closed, own] = [await freePort(), away ? await freePort() : 0];
    /** Where browsers may go besides the gateway. */
    this.providers = away ? this.stytch : undefined;
    await writeFile(
      config,
      `${settings(rate)}
[server]
listen = "127.0.0.1:${own}"
${away ? `public_url = "http://localhost:${own}"` : ""}
[stytch]
vertical = "${vertical}"
${away ? `public_token = "${environment.STYTCH_PUBLIC_TOKEN}"` : ""}
[signin]
enabled = true
${signin.replaceAll("$STYTCH", this.stytch)}
${more}
[upstreams.app]
url = "http://127.0.0.1:${port}"
[upstreams.nowhere]
url = "http://127.0.0.1:${closed}"
${ROUTES}${vertical === "b2b" ? MEMBERS_ROUTES : ""}`,
    );
    const gateway = await started("stytch-gateway", ["run", "-c", config], '"serving"', "stderr", environment);
    this.gatewayProcess = gateway.child;
    this.port = Number(/"listen":"[^"]*:(\d+)"/.exec(gateway.line)[1]);
    this.origin = `http://localhost:${this.port}`;
    const open = ["localhost", "*.localhost", ...(away ? ["127.0.0.1"] : [])].map((host) => `EXCLUDE ${host}`);
    this.browser = await chromium.launch({
      executablePath: CHROMIUM,
      chromiumSandbox: process.getuid() !== 0,
      args: [`--host-resolver-rules=${[...ITS_OWN, `MAP * 127.0.0.1:${trip}`, ...open].join(", ")}`],
    });
    await this.#ready();
  }

  /** Until there are keys to check sessions with. */
  async #ready() {
    const { session_jwt: jwt } = await this.session(this.anybody);
    for (const end = Date.now() + PATIENCE; ; ) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/`, { headers: { authorization: `Bearer ${jwt}` } });
      if (answer.status === 200) return;
      assert.ok(Date.now() < end, `the gateway answers ${answer.status}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async end() {
    await this.browser?.close();
    for (const child of [this.gatewayProcess, this.emulatorProcess]) if (child) await stopped(child);
    for (const server of [this.application, this.tripwire]) {
      server?.closeAllConnections?.();
      server?.close();
    }
    if (this.directory) await rm(this.directory, { recursive: true, force: true });
  }

  async #emulator(what, method = "GET", body = undefined) {
    const answer = await fetch(`${this.stytch}/emulator/${what}`, {
      method,
      headers: body && { "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    assert.ok(answer.ok, `${what}: ${answer.status}`);
    return answer.json();
  }

  /** A session as if that person had signed in. */
  session(who) {
    return this.#emulator("sessions", "POST", who);
  }

  /** From now on, what begins with `prefix` is answered so; without arguments, everything works again. */
  async fault(prefix, status) {
    const method = prefix ? "PUT" : "DELETE";
    await fetch(`${this.stytch}/emulator/faults`, {
      method,
      headers: { "content-type": "application/json" },
      body: prefix && JSON.stringify([{ path: prefix, status }]),
    });
  }

  /** The newest code that was sent there. */
  code(to) {
    return this.#sent(to, "code");
  }

  /** The newest link. */
  link(to) {
    return this.#sent(to, "url");
  }

  async #sent(to, what) {
    const [newest] = await this.#emulator(`outbox?to=${encodeURIComponent(to)}`);
    assert.ok(newest?.[what], `no ${what} for ${to}`);
    return newest[what];
  }

  /** A browser of its own, and who sits before it. Without a `locale` a test may choose languages itself. */
  async person({ scripts = true, locale = "en-GB", ...options } = {}) {
    const context = await this.browser.newContext({
      javaScriptEnabled: scripts,
      ...(locale && { locale }),
      viewport: { width: 1280, height: 800 },
      reducedMotion: "reduce",
      ...options,
    });
    context.setDefaultTimeout(PATIENCE);
    return new Person(this, context, await context.newPage());
  }
}

/** Who looks at one window and does what a person does. */
class Person {
  constructor(scene, context, page) {
    Object.assign(this, { scene, context, page, complaints: [], strayed: [] });
    page.on("console", (message) => {
      if (/content security policy|refused to/i.test(message.text())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "data:" && ![scene.origin, scene.providers].includes(url.origin)) this.strayed.push(request.url());
    });
  }

  /** Goes to a path of the gateway, or to a URL. */
  open(target) {
    return this.page.goto(new URL(target, this.scene.origin).href);
  }

  fill(label, text) {
    return this.page.getByLabel(label, { exact: true }).fill(text);
  }

  press(name) {
    return this.page.getByRole("button", { name, exact: true }).click();
  }

  heading() {
    return this.page.getByRole("heading", { level: 1 }).innerText();
  }

  /** Waits for the page with that heading, and says which field has the focus. */
  async sees(heading) {
    await this.page.getByRole("heading", { level: 1, name: heading }).waitFor();
    return this.page.locator(":focus").evaluateAll(([element]) => element?.id ?? "");
  }

  async enterEmail(email) {
    await this.fill("E-mail address", email);
    await this.press("E-mail me a code");
  }

  /** Enters the code that was sent there. */
  async enterCodeOf(to) {
    await this.fill("Code", await this.scene.code(to));
    await this.press("Continue");
  }

  async signIn(target, email) {
    await this.open(target);
    await this.enterEmail(email);
    await this.sees("Enter your code");
    await this.enterCodeOf(email);
  }

  /** Is at the application, and says what that was told. */
  async arrives() {
    await this.page.getByRole("heading", { name: "Application" }).waitFor();
    return JSON.parse(await this.page.locator("#told").innerText());
  }

  /** Has a session without having signed in here. */
  async hasSession(who) {
    const session = await this.scene.session(who);
    const cookie = (name, value) => ({ name, value, url: this.scene.origin, httpOnly: true, sameSite: "Lax" });
    await this.context.addCookies([
      cookie("stytch_session", session.session_token),
      cookie("stytch_session_jwt", session.session_jwt),
    ]);
  }

  /** Loses the cookies of such names. */
  forgets(name) {
    return this.context.clearCookies({ name });
  }

  /** Goes home. Nothing may have been asked of another host, and no page have broken its own policy. */
  async leaves() {
    assert.deepEqual(this.complaints, []);
    assert.deepEqual(this.strayed, []);
    await this.context.close();
  }
}
