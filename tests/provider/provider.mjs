// An OpenID Connect provider for tests: npm's oidc-provider, as it is, with one client. Who signs in, and what is said of them, stands in the
// file that the third argument names, and is read each time: {"account": "…", "claims": {"email": …, "email_verified": …}}. Each start makes
// a new key.
//
// node provider.mjs PORT REDIRECT_URI FILE
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const [port, redirect, file] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const now = () => JSON.parse(readFileSync(file, "utf8"));
const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });

const provider = new Provider(issuer, {
  clients: [{ client_id: "pulsecal", client_secret: "a secret of this test only", redirect_uris: [redirect], id_token_signed_response_alg: "RS256" }],
  jwks: { keys: [{ ...key, kid: randomUUID(), use: "sig", alg: "RS256" }] },
  cookies: { keys: ["cookies of this test only"] },
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...now().claims }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  async loadExistingGrant(ctx) {
    const grant = new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid email");
    await grant.save();
    return grant;
  },
});
// People enter a password here. These have entered it.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const result = now().account ? { login: { accountId: now().account } } : { error: "access_denied", error_description: "not today" };
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
  ctx.respond = false;
});
provider.listen(Number(port), "127.0.0.1", () => console.log("provider: ready"));
