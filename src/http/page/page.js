// All pages work without this. Ctrl+Enter or Cmd+Enter in a console asks; a button that was pressed says that it waits.
"use strict";
for (const form of document.querySelectorAll("form.ask")) {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("submit", () => form.setAttribute("aria-busy", "true"));
}
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form.ask")) form.removeAttribute("aria-busy");
});
