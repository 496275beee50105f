// A real OpenID Connect provider for the tests (npm: oidc-provider). PORT and the folder with its package come in as
// arguments; it answers on 127.0.0.1 until it is stopped. Who logs in, with which claims, is asked for in `login`.
// `POST /test/rotate` gives it another signing key; `POST /test/disable` {account} lets somebody log in no more.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [port, packages] = process.argv.slice(2);
const require = createRequire(packages + '/');
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

const issuer = `http://127.0.0.1:${port}`;
const accounts = new Map(); // subject -> claims, as the tests told them
const disabled = new Set();
const clients = [
  ['flowtide', 's3cret-of-flowtide', 'client_secret_basic'],
  ['second', 's3cret-of-second', 'client_secret_post'],
];

function key() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function provider(keys) {
  const made = new Provider(issuer, {
    clients: clients.map(([client_id, client_secret, token_endpoint_auth_method]) => ({
      client_id,
      client_secret,
      token_endpoint_auth_method,
      redirect_uris: ['http://127.0.0.1/oauth/callback/real', 'http://127.0.0.1/oauth/callback/second'],
      post_logout_redirect_uris: ['http://127.0.0.1/logout'],
    })),
    jwks: { keys },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name'], groups: ['groups'] },
    scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
    conformIdTokenClaims: false, // the claims stand in the ID token, as those of Keycloak do
    pkce: { required: () => true },
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, sub) => accounts.has(sub) && !disabled.has(sub)
      ? { accountId: sub, claims: () => ({ sub, ...accounts.get(sub) }) }
      : undefined,
  });
  // Each test has an application on a port of its own: the address may have any port, as RFC 8252 has it for loopback.
  const plain = (uri) => uri.replace(/^http:\/\/127\.0\.0\.1:\d+/, 'http://127.0.0.1');
  const { redirectUriAllowed, postLogoutRedirectUriAllowed } = made.Client.prototype;
  made.Client.prototype.redirectUriAllowed = function allowed(uri) { return redirectUriAllowed.call(this, plain(uri)); };
  made.Client.prototype.postLogoutRedirectUriAllowed = function allowed(uri) {
    return postLogoutRedirectUriAllowed.call(this, plain(uri));
  };
  return made;
}

async function body(request) {
  let text = '';
  for await (const part of request) text += part;
  return text ? JSON.parse(text) : {};
}

let keys = [key()];
let current = provider(keys);

createServer(async (request, response) => {
  try {
    const path = new URL(request.url, issuer).pathname;
    if (path === '/test/rotate') {
      keys = [key()];
      current = provider(keys);
      response.writeHead(204).end();
    } else if (path === '/test/disable') {
      disabled.add((await body(request)).account);
      response.writeHead(204).end();
    } else if (path.startsWith('/interaction/')) {
      await interact(request, response);
    } else {
      await current.callback()(request, response);
    }
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain' }).end(String(error));
  }
}).listen(Number(port), '127.0.0.1');

// A page to log in and consent, for programs: POST {account, claims} is a person who types their password and agrees;
// GET, or POST {refuse: true}, one who turns away.
async function interact(request, response) {
  const details = await current.interactionDetails(request, response);
  const said = request.method === 'POST' ? await body(request) : { refuse: true };
  if (said.refuse || disabled.has(said.account)) {
    await current.interactionFinished(request, response, { error: 'access_denied', error_description: 'no' });
    return;
  }
  accounts.set(said.account, said.claims ?? {});
  const grant = new current.Grant({ accountId: said.account, clientId: details.params.client_id });
  grant.addOIDCScope(details.params.scope);
  const consent = { grantId: await grant.save() };
  await current.interactionFinished(request, response, { login: { accountId: said.account }, consent });
}
