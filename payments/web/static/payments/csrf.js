/** Read the CSRF token from its cookie: unlike one written into a page, it is current after a sign-in elsewhere. */
export function csrfToken() {
  const entry = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  return entry === undefined ? "" : decodeURIComponent(entry.slice("csrftoken=".length));
}
