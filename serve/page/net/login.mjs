// The login of this page: a key or token, kept until the tab is closed. It is sent as Authorization and as the first message of a socket,
// never in an address. Whoever opens a link needs none: its token stands behind the # of the address, which browsers send to nobody.

const KEPT = "purple-sector-login";

const WORDS = {
  missing: "",
  unknown_key: "This key is not valid.",
  expired: "The login has expired.",
  keys_unavailable: "The server cannot check logins at the moment.",
  no_role: "This login has no role here: an operator gives it one.",
  unknown_link: "It was revoked, or has expired.",
  links_unavailable: "the server cannot check links at the moment",
};

// The token of the link that was opened; null where none was.
export const linkToken = () => new URLSearchParams(location.hash.slice(1)).get("share");
export const linkTo = (token) => `${location.origin}${location.pathname}#${new URLSearchParams({ share: token })}`;
export const credential = () => linkToken() ?? sessionStorage.getItem(KEPT) ?? "";
export const keepCredential = (value) => sessionStorage.setItem(KEPT, value);
export const forgetCredential = () => sessionStorage.removeItem(KEPT);

export const authorization = () => (credential() ? { authorization: `Bearer ${credential()}` } : {});
export const firstMessages = () => (credential() ? [{ type: "auth", token: credential() }] : []);

export const refusalWords = (reason) => WORDS[reason] ?? `This login is refused (${reason}).`;

// A request was refused for want of a login; `reason` is the server's code.
export class LoginNeeded extends Error {
  constructor(reason) {
    super(refusalWords(reason) || "a login is needed");
    this.reason = reason;
  }
}
