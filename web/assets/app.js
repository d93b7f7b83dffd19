// The page as a whole: which view is shown, whether the server is there, the theme, the token.

import { Problem, hasToken, load, onOnline, request, session, setOnline, setToken } from "./api.js";
import { drawAbout, openConvert } from "./convert.js";
import { askToken } from "./dialog.js";
import { byId, icon, replace } from "./dom.js";
import { closeStatus, openStatus } from "./status.js";
import { openStore } from "./store.js";
import { openTheme } from "./theme-toggle.js";

const VIEWS = ["convert", "store", "status"];

/** While the server is gone it is asked again after 1, 2, 4, then every 8 s. */
const ASK_MS = [1000, 2000, 4000, 8000];

const NOTICE_MS = 4000;

let isOpen = false;
let asks = 0;

session.checkToken = checkToken;
takeTokenFromAddress();
openTheme();
// Files may come before the server has answered: without this, the browser would leave the page for
// one that is dropped early.
openConvert();
show(false);
onOnline(drawLink);
byId("lock").addEventListener("click", () => askToken({ wrong: false, check: checkToken }));
addEventListener("hashchange", () => show(true));
addEventListener("offline", () => setOnline(false));
connect();

async function connect() {
  try {
    await load();
  } catch (error) {
    if (error instanceof Problem && error.status) notice("bad", `${error.title}. ${error.hint}`);
    setOnline(false);
    setTimeout(connect, ASK_MS[Math.min(asks, ASK_MS.length - 1)]);
    asks += 1;
    return;
  }
  asks = 0;
  const { info } = session;
  byId("version").textContent = `fxsrv ${info.version}`;
  document.querySelector("[data-view=store]").hidden = !info.store.available;
  document.querySelector("[data-view=status]").hidden = info.fleet === false;
  drawLock();
  drawAbout();
  if (isOpen) return;
  isOpen = true;
  openStore();
  show(false);
}

function drawLink(online) {
  const link = byId("link");
  link.dataset.state = online ? "connected" : "offline";
  link.textContent = online ? "Connected" : "Offline";
  if (online) {
    if (!byId("notice").hidden) {
      notice("good", "The server is back.");
      setTimeout(() => (byId("notice").hidden = true), NOTICE_MS);
    }
    return;
  }
  notice("bad", "The server cannot be reached. The page looks for it again by itself; your files are still here.");
  if (isOpen) setTimeout(connect, ASK_MS[0]);
}

function notice(kind, text) {
  const bar = byId("notice");
  bar.dataset.kind = kind;
  bar.hidden = false;
  replace(bar, document.createTextNode(text));
}

/** The view that the address names; the heading takes the focus when a person came by a link. */
function show(byLink) {
  const asked = location.hash.slice(1);
  if (asked === "main") return;
  const isThere = (view) => !document.querySelector(`[data-view=${view}]`).hidden;
  const wanted = VIEWS.includes(asked) && (isThere(asked) || !isOpen) ? asked : "convert";
  for (const view of VIEWS) byId(`view-${view}`).hidden = view !== wanted;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${wanted.charAt(0).toUpperCase()}${wanted.slice(1)} · fxsrv`;
  if (wanted === "status" && isOpen) openStatus();
  else closeStatus();
  if (byLink) byId(`view-${wanted}`).querySelector("h1")?.focus();
  scrollTo(0, 0);
}

/** `http://host/#token=...` hands a token over without it reaching a server's log or the history. */
function takeTokenFromAddress() {
  const found = /^#token=([\x21-\x7e]+)$/.exec(location.hash);
  if (!found) return;
  setToken(decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname);
}

/** Asks a route that needs the token, and breaks off as soon as it has answered. */
async function checkToken() {
  if (!session.info.fleet) return hasToken();
  const stop = new AbortController();
  try {
    await request("/v1/status/events", { signal: stop.signal });
    drawLock();
    return true;
  } catch (error) {
    if (error.isUnauthorized) setToken("");
    drawLock();
    return !error.isUnauthorized;
  } finally {
    stop.abort();
  }
}

function drawLock() {
  const lock = byId("lock");
  lock.hidden = !session.info?.token_required;
  const label = hasToken() ? "A token is set; change it" : "Enter the token";
  lock.setAttribute("aria-label", label);
  lock.title = label;
  replace(lock, icon("key"));
}
