// The button for light and dark colours; without a choice the system's holds.

import { byId, icon, replace, say } from "./dom.js";

const system = matchMedia("(prefers-color-scheme: dark)");

export function openTheme() {
  byId("theme").addEventListener("click", toggle);
  system.addEventListener("change", draw);
  draw();
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : system.matches;
}

function draw() {
  const button = byId("theme");
  button.setAttribute("aria-pressed", String(isDark()));
  button.title = isDark() ? "Light colours" : "Dark colours";
  replace(button, icon(isDark() ? "sun" : "moon"));
}

function toggle() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  draw();
  say(`${theme} colours`);
  try {
    localStorage.setItem("fxsrv-theme", theme);
  } catch {
    // Then it holds until the page is closed.
  }
}
