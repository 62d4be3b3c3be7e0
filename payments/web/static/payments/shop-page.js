/** The shop's list: one order per click, also when the first order in another tab has changed the CSRF token. */

import { csrfToken } from "./csrf.js";

const forms = document.querySelectorAll(".offer-form");

for (const form of forms) {
  form.addEventListener("submit", (event) => {
    const button = form.querySelector("button");
    if (button.ariaDisabled === "true") {
      event.preventDefault();
      return;
    }
    button.ariaDisabled = "true";
    form.elements.csrfmiddlewaretoken.value = csrfToken() || form.elements.csrfmiddlewaretoken.value;
  });
}

// A page that comes back out of the browser's memory is as it was left: with the clicked button disabled.
window.addEventListener("pageshow", () => {
  for (const form of forms) form.querySelector("button").ariaDisabled = null;
});
