// Modal dialogs on <dialog>: the browser holds the focus inside and gives it back afterwards.

import { hasToken, session, setToken } from "./api.js";
import { button, h } from "./dom.js";

let titles = 0;

/** Opens a dialog that removes itself when it is closed. */
export function openDialog({ title, body, wide = false, onclose }) {
  titles += 1;
  const id = `dialog-${titles}`;
  const dialog = h(
    "dialog",
    { class: wide ? "dialog wide" : "dialog", "aria-labelledby": id },
    h("div", { class: "dialog-head" }, h("h2", { id }, title), button({ label: "Close", name: "cross", kind: "quiet", onclick: () => dialog.close() })),
    body,
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose?.();
  });
  // A click on the backdrop is a click on the dialog itself, outside of what it holds.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

let asking = null;

/**
 * Asks for the token; resolves to whether one was given. One dialog at a time: who asks meanwhile
 * waits for the same answer. `wrong` says that the one that was given is not accepted.
 */
export function askToken({ wrong = hasToken(), check } = {}) {
  asking ??= new Promise((resolve) => tokenDialog(wrong, check, resolve)).finally(() => {
    asking = null;
  });
  return asking;
}

function tokenDialog(wrong, check, resolve) {
  let given = false;
  const error = h("p", { class: "problem-title", id: "token-error", role: "alert" }, wrong ? "The server does not accept that token." : "");
  const input = h("input", { id: "token", class: "input mono", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-error token-help", "aria-invalid": String(wrong) });
  const submit = h("button", { type: "submit", class: "button primary" }, "Use this token");
  const form = h(
    "form",
    { class: "dialog-body" },
    h("p", { class: "muted" }, "This server converts only for those who have its token."),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), input, error, h("p", { class: "help", id: "token-help" }, "It stays in this page's memory and is gone when the page is closed. `fxsrv up` keeps its own in the state directory, in the file `token`.")),
    h("div", { class: "dialog-foot" }, button({ text: "Cancel", onclick: () => dialog.close() }), submit),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setToken(input.value);
    submit.disabled = true;
    const accepted = check ? await check() : true;
    submit.disabled = false;
    given = accepted;
    if (accepted) return dialog.close();
    error.textContent = "The server does not accept that token.";
    input.setAttribute("aria-invalid", "true");
    input.select();
  });
  const dialog = openDialog({ title: "Token needed", body: form, onclose: () => resolve(given) });
  input.focus();
}

export const needsToken = () => session.info?.token_required === true && !hasToken();
