/**
 * Return targets in every spelling that has ever led a browser astray, and some that nobody has thought
 * of: each leads to the tripwire if a browser and the gateway disagree about what it says.
 */

const EVIL = "evil.example";

/** What a parser may take for a slash, or skip. */
const SLASHES = ["//", "///", "////", "/\\", "\\/", "\\\\", "/\\\\", "\\/\\/", "/%2f", "/%2F", "%2f%2f", "/%5c", "/%5C", "%5c%5c", "/%252f", "/%255c", "/;/", "/./", "/.//", "/..//", "/%2e/", "/%2e%2e//", "/%2e%2f/", "\u2215\u2215", "\uff0f\uff0f", "/\uff0f", "/\u2044", "/\uff3c", "/\u29f8", "%c0%af%c0%af", "/%c0%af", "/%ef%bc%8f", "/%e2%81%84"];
/** What browsers strip at the ends, and tabs and newlines anywhere. */
const SPACES = ["\t", "\n", "\r", "\r\n", " ", "\0", "\u000b", "\f", "\u001f", "\u0085", "\u00a0", "\u00ad", "\u180e", "\u200b", "\u2028", "\u2029", "\u3000", "\ufeff", "%00", "%01", "%09", "%0a", "%0b", "%0c", "%0d", "%0d%0a", "%20", "%85", "%a0", "%e3%80%80", "%ef%bb%bf"];
const SCHEMES = ["http:", "https:", "HTTP:", "hTtPs:", "ftp:", "ws:", "wss:", "file:", "javascript:", "data:", "blob:", "view-source:", "about:", "intent:", "mailto:", "x:", "://", ":", "http", "http%3a", "http\uff1a", "https\t:", "ht\ntp:", " http:", "\u0001http:"];
const BETWEEN = ["", "/", "//", "///", "\\", "\\\\", "/\\", "%2f%2f", "\t//", "/\t/", "//\n"];
const DOTS = ["\u3002", "\uff0e", "\uff61", "%e3%80%82", "%2e", "\u2024", "."];

/** Spellings that name the gateway, `own`, somewhere, and another host where it counts. */
function besides(own) {
  const [host] = own.split(":");
  return [
    `http://${own}@${EVIL}/`,
    `http://${own}%40${EVIL}/`,
    `http://${EVIL}\\@${own}/`,
    `http://${EVIL}#@${own}/`,
    `http://${EVIL}?@${own}/`,
    `http://${EVIL};@${own}/`,
    `http://${EVIL}%23@${own}/`,
    `http://${EVIL}%5c@${own}/`,
    `http://${EVIL}%00@${own}/`,
    `http://user:password@${own}/`,
    `http://${own}:80@${EVIL}/`,
    `http://${own}.${EVIL}/`,
    `http://${host}.${EVIL}/`,
    `http://${EVIL}.${own}/`,
    `http://${host}:1/`,
    `http://${host}:0/`,
    `http://${host}:65536/`,
    `http://${host}:/x`,
    `http://${own}\\.${EVIL}/`,
    `http://${own}\t.${EVIL}/`,
    `http://${own}%2f.${EVIL}/`,
    `http://[::1]/`,
    `http://[::ffff:127.0.0.1]:1/`,
    `http://[${EVIL}]/`,
    `http://${host}]@${EVIL}/`,
    "http://127.1:1/",
    "http://0x7f000001:1/",
    "http://2130706433:1/",
    "http://0177.0.0.1:1/",
    `//${own}@${EVIL}`,
    `//${EVIL}:${own.split(":")[1]}/`,
    `https://${own}/`,
    `http://l\u043ecalhost:${own.split(":")[1]}/`,
    `http://xn--lcalhost-b6g:1/`,
    `http://localhos\u0442/`,
    `http://loca\u00adlhost:1/`,
    `http://LOCALHOST.${EVIL}/`,
    `http://localhost.:1/`,
    `http://${EVIL}./`,
    `http://${EVIL.toUpperCase()}/`,
    ...DOTS.map((dot) => `http://localhost${dot}${EVIL}/`),
    ...DOTS.map((dot) => `//evil${dot}example/`),
  ];
}

/** Paths and queries of this host, odd but harmless, and such as a sloppy reader makes harmful. */
const PATHS = [
  "",
  "/",
  "x",
  "?",
  "#",
  "?//evil.example",
  "#//evil.example",
  `/${"a".repeat(1999)}`,
  `/${"a".repeat(2000)}`,
  `//${"a".repeat(3000)}.evil.example`,
  `/${"%2f".repeat(600)}evil.example`,
  `/${"../".repeat(300)}/evil.example`,
  "/a/../..//evil.example",
  "/a/..;/..//evil.example",
  "/a//..//..//evil.example",
  "/%2e%2e/%2e%2e//evil.example",
  "/..%2f..%2f/evil.example",
  "/x?next=//evil.example#//evil.example",
  "/x;//evil.example",
  "/x:80//evil.example",
  "/@evil.example",
  "/.evil.example",
  ".evil.example",
  "@evil.example",
  ":80@evil.example",
  "/%0d%0aLocation:%20http://evil.example",
  "/x\r\nLocation: http://evil.example\r\n",
  "/x\nSet-Cookie: stytch_session=x",
  "javascript:alert(document.domain)",
  "JaVaScRiPt:alert(1)",
  "java\tscript:alert(1)",
  "javascript://localhost/%0aalert(1)",
  "/javascript:alert(1)",
  "data:text/html,<script>location='http://evil.example'</script>",
  "data:text/html;base64,PHNjcmlwdD4=",
  "vbscript:x",
  "blob:http://localhost/x",
  "/\ud800",
  "/<script>",
  "/\"onload=\"",
  "/'",
  "/`",
  "/{}|^",
  "/%",
  "/%zz",
  "/%u002f%u002fevil.example",
  "/\u202e//evil.example",
  "/\ud83d\ude00",
];

/** All of them, each once. */
export function spellings(own) {
  const hosts = [EVIL, `user@${EVIL}`, `${EVIL}:80`];
  const all = [
    ...SLASHES.flatMap((slashes) => hosts.map((host) => `${slashes}${host}/`)),
    ...SPACES.flatMap((space) => [
      `${space}//${EVIL}`,
      `/${space}/${EVIL}`,
      `//${space}${EVIL}`,
      `${space}http://${EVIL}`,
      `http:${space}//${EVIL}`,
      `http://${own}${space}.${EVIL}`,
      `//${EVIL}${space}`,
    ]),
    ...SCHEMES.flatMap((scheme) => BETWEEN.map((between) => `${scheme}${between}${EVIL}/`)),
    ...besides(own),
    ...PATHS,
  ];
  return [...new Set(all)];
}
