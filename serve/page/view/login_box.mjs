// The dialog that asks for a key, or leads to the issuer.

const byId = (id) => document.getElementById(id);

export class LoginBox {
  #box = byId("login");

  // onKey(key): a key was typed; onIssuer(): the button to the issuer was pressed.
  constructor({ onKey, onIssuer }) {
    byId("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const key = byId("login-key").value.trim();
      byId("login-key").value = "";
      if (key) onKey(key);
    });
    byId("login-issuer").addEventListener("click", onIssuer);
    this.#box.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it yet
  }

  get isOpen() {
    return this.#box.open;
  }

  show({ mode, client_id: client }, words) {
    byId("login-note").textContent = words;
    byId("login-label").textContent = mode === "jwt" ? "Token" : "Key";
    byId("login-issuer").hidden = !client;
    byId("login-typed").hidden = Boolean(client);
    if (!this.#box.open) this.#box.showModal();
  }

  close() {
    this.#box.close();
  }
}
