// Dark or light: as the system says, until the reader says otherwise. Runs before anything is painted.
(function () {
  "use strict";
  var root = document.documentElement;
  var system = matchMedia("(prefers-color-scheme: dark)");
  var chosen = null;
  try {
    chosen = localStorage.getItem("robustreid-theme");
  } catch (error) {
    chosen = null; // Storage may be forbidden; the choice then lasts as long as the page.
  }
  function isDark() {
    return chosen ? chosen === "dark" : system.matches;
  }
  function apply() {
    root.dataset.theme = isDark() ? "dark" : "light";
    root.classList.toggle("dark", isDark());
    var button = document.getElementById("theme");
    if (button) {
      button.hidden = false;
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", "Switch to " + (isDark() ? "light" : "dark") + " colours");
    }
  }
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", function () {
    apply();
    document.getElementById("theme").addEventListener("click", function () {
      chosen = isDark() ? "light" : "dark";
      try {
        localStorage.setItem("robustreid-theme", chosen);
      } catch (error) {
        // As above.
      }
      apply();
    });
  });
})();
