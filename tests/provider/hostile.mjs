// An issuer of OpenID Connect that lies in one way at a time: {"mode": "…"} stands in the file that the third argument names, and is read each
// time. What it says otherwise is right.
//
// node hostile.mjs PORT FILE
import { createHash, createHmac, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, file] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const mode = () => JSON.parse(readFileSync(file, "utf8")).mode;
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });
const jwk = (pair, more) => ({ ...pair.publicKey.export({ format: "jwk" }), use: "sig", ...more });
const codes = new Map();
const b64 = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

const rs256 = (data, key = rsa) => sign("RSA-SHA256", Buffer.from(data), key.privateKey).toString("base64url");
const hs256 = (data, key) => createHmac("sha256", key).update(data).digest("base64url");

// Changes of claims, by mode.
const CLAIMS = {
  "another issuer": (c) => { c.iss = "https://accounts.example.org"; },
  "the issuer with a slash": (c) => { c.iss = `${issuer}/`; },
  "no issuer": (c) => { delete c.iss; },
  "for another client": (c) => { c.aud = "somebody-else"; },
  "for several without saying which": (c) => { c.aud = ["pulsecal", "somebody-else"]; },
  "for several on behalf of another": (c) => { c.aud = ["pulsecal", "somebody-else"]; c.azp = "somebody-else"; },
  "on behalf of another": (c) => { c.azp = "somebody-else"; },
  "for nobody": (c) => { delete c.aud; },
  "expired": (c) => { c.exp = c.iat - 3600; },
  "without an end": (c) => { delete c.exp; },
  "with an end in words": (c) => { c.exp = "tomorrow"; },
  "of the future": (c) => { c.iat += 3600; },
  "without a nonce": (c) => { delete c.nonce; },
  "with another nonce": (c) => { c.nonce = randomUUID(); },
  "of nobody": (c) => { delete c.sub; },
  "of an empty name": (c) => { c.sub = ""; },
  "of a number": (c) => { c.sub = 4711; },
  "of an endless name": (c) => { c.sub = "s".repeat(300); },
  "of an address that is not proven": (c) => { c.email_verified = false; },
  "of an address that is said to be one": (c) => { c.email_verified = 1; },
  "of an address without a word on it": (c) => { delete c.email_verified; },
};

function token(claims) {
  const m = mode();
  CLAIMS[m]?.(claims);
  const head = { alg: "RS256", typ: "JWT", kid: "a" };
  const plain = (header) => `${b64(header)}.${b64(claims)}`;
  const signed = (header, how = rs256) => { const data = plain(header); return `${data}.${how(data)}`; };
  switch (m) {
    case "not signed": return `${plain({ alg: "none", typ: "JWT" })}.`;
    case "not signed, in other letters": return `${plain({ alg: "nOnE", kid: "a" })}.`;
    case "signed with our public key as a secret": return signed({ alg: "HS256", kid: "a" }, (data) => hs256(data, rsa.publicKey.export({ type: "spki", format: "pem" })));
    case "signed with the client's secret": return signed({ alg: "HS256" }, (data) => hs256(data, "a secret of this test only"));
    case "signed by a stranger": return signed(head, (data) => rs256(data, stranger));
    case "signed by a key that comes along": return signed({ alg: "RS256", jwk: jwk(stranger) }, (data) => rs256(data, stranger));
    case "signed by a key that lies elsewhere": return signed({ alg: "RS256", kid: "x", jku: `${issuer}/strangers-keys` }, (data) => rs256(data, stranger));
    case "signed by a key of no name here": return signed({ ...head, kid: "nobody's" }, (data) => rs256(data, stranger));
    case "of another key's kind": return signed({ ...head, alg: "ES256" });
    case "in a way that is not taken": { const data = plain({ ...head, alg: "RS512" }); return `${data}.${sign("RSA-SHA512", Buffer.from(data), rsa.privateKey).toString("base64url")}`; }
    case "with something that must be understood": return signed({ ...head, crit: ["b64"], b64: false });
    case "changed after it was signed": { const [h, , s] = signed(head).split("."); return `${h}.${b64({ ...claims, sub: "mallory" })}.${s}`; }
    case "cut": return signed(head).slice(0, -8);
    case "of two parts": return plain(head);
    case "no token": return "a statement";
    case "a number": return 4711;
    case "none at all": return undefined;
    case "endless": claims.more = "x".repeat(10_000); return signed(head);
    case "by the other key": { const data = plain({ alg: "ES256", kid: "b" }); return `${data}.${sign("SHA256", Buffer.from(data), { key: ec.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`; }
    case "by the other key, written otherwise": { const data = plain({ alg: "ES256", kid: "b" }); return `${data}.${sign("SHA256", Buffer.from(data), ec.privateKey).toString("base64url")}`; }
    default: return signed(head);
  }
}

createServer((request, response) => {
  const url = new URL(request.url, issuer);
  const json = (value, status = 200) => { response.writeHead(status, { "content-type": "application/json" }); response.end(JSON.stringify(value)); };
  if (url.pathname === "/.well-known/openid-configuration") {
    return json({ issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/keys` });
  }
  if (url.pathname === "/keys") return json({ keys: [jwk(rsa, { kid: "a", alg: "RS256" }), jwk(ec, { kid: "b", alg: "ES256" })] });
  if (url.pathname === "/strangers-keys") return json({ keys: [jwk(stranger, { kid: "x", alg: "RS256" })] });
  if (url.pathname === "/authorize") {
    const q = url.searchParams;
    const code = randomUUID();
    codes.set(code, { nonce: q.get("nonce"), challenge: q.get("code_challenge") });
    const back = new URL(q.get("redirect_uri"));
    if (mode() !== "without a code") back.searchParams.set("code", code);
    if (mode() !== "without a state") back.searchParams.set("state", mode() === "with another state" ? "a".repeat(64) : q.get("state"));
    response.writeHead(303, { location: back.href });
    return response.end();
  }
  if (url.pathname === "/token") {
    let body = "";
    request.on("data", (part) => { body += part; });
    return request.on("end", () => {
      const form = new URLSearchParams(body);
      const known = codes.get(form.get("code"));
      codes.delete(form.get("code"));
      const verifier = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
      if (!known || known.challenge !== verifier) return json({ error: "invalid_grant" }, 400);
      switch (mode()) {
        case "an answer that is a page": response.writeHead(200, { "content-type": "text/html" }); return response.end("<html>");
        case "an answer that leads elsewhere": response.writeHead(302, { location: `${issuer}/elsewhere` }); return response.end();
        case "an answer that is broken": return json({ error: "server_error" }, 500);
        case "an answer that breaks off": response.writeHead(200, { "content-length": "9999" }); response.write("{"); return setTimeout(() => response.destroy(), 50);
        case "an answer without an end": response.writeHead(200); return response.end(`{"id_token": "${"x".repeat(400_000)}"}`);
        default:
      }
      const now = Math.floor(Date.now() / 1000);
      const claims = { iss: issuer, sub: "ann", aud: "pulsecal", iat: now, exp: now + 300, nonce: known.nonce, email: "doctor@example.org", email_verified: true };
      return json({ access_token: "x", token_type: "Bearer", id_token: token(claims) });
    });
  }
  return json({ error: "nowhere" }, 404);
}).listen(Number(port), "127.0.0.1", () => console.log("provider: ready"));
