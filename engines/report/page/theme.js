"use strict";
// Light, dark, or as the system says; set before anything is drawn.
(() => {
  const MODES = ["auto", "light", "dark"];
  const KEY = "report-theme";
  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // some browsers keep nothing for files
    }
  };
  let mode = MODES.includes(read()) ? read() : "auto";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    document.documentElement.dataset.theme =
      mode === "auto" ? (system.matches ? "dark" : "light") : mode;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${mode}`;
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
      try {
        localStorage.setItem(KEY, mode);
      } catch {
        // kept until the page is closed
      }
      apply();
    });
  });
})();
