// OpenID Connect: authorization code with PKCE (RFC 7636), in the browser alone. `storage` keeps what has to outlive the way to the issuer
// and back: the verifier, which proves that the code is ours, and the state, which proves that the answer is.

const KEPT = "purple-sector-oidc";
const RANDOM_BYTES = 32;

export function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)));

export async function challengeOf(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

async function documentOf(issuer) {
  const answer = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  const found = await answer.json();
  if (found.issuer !== issuer) throw new Error("the issuer's document is of another issuer");
  return found;
}

// -> the address at the issuer to go to. `here` is the page's own address, to which the issuer leads back.
export async function beginLogin({ issuer, client_id: client }, here, storage) {
  const { authorization_endpoint: address } = await documentOf(issuer);
  const [state, verifier] = [random(), random()];
  storage.setItem(KEPT, JSON.stringify({ state, verifier, hash: here.hash }));
  const query = {
    response_type: "code",
    client_id: client,
    redirect_uri: here.origin + here.pathname,
    scope: "openid profile",
    state,
    code_challenge: await challengeOf(verifier),
    code_challenge_method: "S256",
  };
  return `${address}${address.includes("?") ? "&" : "?"}${new URLSearchParams(query)}`;
}

// -> {token, hash} after the issuer led back here; null where it did not. Throws where the answer is not one to our question.
export async function finishLogin({ issuer, client_id: client, audience }, here, storage) {
  const answer = new URLSearchParams(here.search);
  if (!answer.has("state")) return null;
  const kept = JSON.parse(storage.getItem(KEPT) ?? "{}");
  storage.removeItem(KEPT);
  if (!kept.state || answer.get("state") !== kept.state) throw new Error("this answer belongs to no login of this tab");
  if (answer.has("iss") && answer.get("iss") !== issuer) throw new Error("this answer is of another issuer");
  if (!answer.has("code")) throw new Error(`the issuer refused: ${answer.get("error") ?? "no code"}`);
  const { token_endpoint: address } = await documentOf(issuer);
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    code: answer.get("code"),
    client_id: client,
    redirect_uri: here.origin + here.pathname,
    code_verifier: kept.verifier,
  });
  const given = await fetch(address, { method: "POST", body });
  if (!given.ok) throw new Error(`the issuer answered ${given.status}`);
  return { token: tokenFor(audience, await given.json()), hash: kept.hash ?? "" };
}

// Of the two tokens the one for our audience: issuers differ in which of them it is. The server checks it.
export function tokenFor(audience, { access_token: access = "", id_token: id = "" }) {
  return [access, id].find((token) => audiencesOf(token).includes(audience)) ?? (access || id);
}

function audiencesOf(token) {
  try {
    return [JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).aud].flat();
  } catch {
    return [];
  }
}
