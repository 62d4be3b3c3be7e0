/** The pay page: shows what PaymentManager says, and passes the customer's click on to it. */

import { csrfToken } from "./csrf.js";
import { PaymentManager } from "./payment-manager.js";

const HURRY_SECONDS = 60;

// What each state looks like. A state that this page does not know is one that is being worked on.
const WORKING = { heading: "Processing your payment", tone: "working" };
const VIEWS = {
  open: { heading: "Your payment", tone: "open" },
  queued: WORKING,
  charging: WORKING,
  confirming: { heading: "Waiting for the confirmation", tone: "working" },
  in_doubt: { heading: "We are looking into it", tone: "doubt" },
  needs_review: { heading: "We are looking into it", tone: "doubt" },
  succeeded: { heading: "Paid", tone: "success" },
  failed: { heading: "Not paid", tone: "failure" },
  expired: { heading: "Time is up", tone: "failure" },
  cancelled: { heading: "Cancelled", tone: "failure" },
};

// Why a failed payment has no button to try again, where the message does not say it.
const NO_RETRY = {
  no_attempts_left: "All attempts are used up. Please start again from the shop.",
  not_retryable: "It cannot be tried again. Please start again from the shop.",
  held_too_long: "The order was held for too long. Please start again from the shop.",
  payment_expired: "The time to pay has run out. Please start again from the shop.",
};

const part = (id) => document.getElementById(id);
const panel = part("payment");
const heading = part("payment-heading");
const message = part("message");
const notice = part("notice");
const form = part("pay-form");
const button = part("pay-button");
const retryButton = part("retry-button");
const payLabel = button.textContent;

const manager = new PaymentManager({
  statusUrl: panel.dataset.statusUrl,
  submitUrl: panel.dataset.submitUrl,
  retryUrl: panel.dataset.retryUrl,
  csrfToken,
});

const feedbackMs = Number(panel.dataset.feedbackSeconds) * 1_000;
let feedbackTimer = null;
let isTakingLong = false;
let refusal = "";
let isConnected = true;

function write(element, text) {
  // A live region repeats whatever is written into it, so it is only written to when there is news.
  if (element.textContent.trim() !== text) element.textContent = text;
}

function messageFor(status) {
  const { tone } = VIEWS[status.state] ?? WORKING;
  if (tone === "working" && isTakingLong && redirectOf(status) === null) return "Still processing, please do not pay again.";
  const remainingSeconds = manager.remainingSeconds;
  if (tone === "open" && remainingSeconds === 0) return "The time is up. We are checking where your order stands.";
  if (tone === "open" && remainingSeconds < HURRY_SECONDS) return "Less than a minute left to pay.";
  return status.message;
}

function showCountdown() {
  const seconds = manager.remainingSeconds;
  const status = manager.status;
  if (seconds === null || status === null) return;
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)];
  const clock = `${pad(minutes)}:${pad(seconds % 60)}`;
  part("clock").textContent = hours > 0 ? `${hours}:${clock}` : clock;
  part("countdown").toggleAttribute("data-hurry", seconds < HURRY_SECONDS);
  const bar = part("countdown-bar");
  bar.max = (Date.parse(status.expires_at) - Date.parse(status.opened_at)) / 1_000;
  bar.value = seconds;
}

function redirectOf(status) {
  if (status.state !== "confirming" || !status.redirect_url) return null;
  // Anything else than a web address (`javascript:` above all) is not a page to send somebody to.
  return /^https?:\/\//i.test(status.redirect_url) ? status.redirect_url : null;
}

function showRetry({ state, can_retry, retry_refused, attempts_left }, isSubmitting) {
  part("retry").hidden = !can_retry;
  retryButton.disabled = isSubmitting;
  write(retryButton, `Try again (${attempts_left} ${attempts_left === 1 ? "attempt" : "attempts"} left)`);
  const reason = state === "failed" ? NO_RETRY[retry_refused] : undefined;
  part("no-retry").hidden = reason === undefined;
  write(part("no-retry"), reason ?? "");
}

function render() {
  const { status, isSubmitting } = manager;
  write(notice, isConnected ? refusal : "Connection lost, trying again.");
  notice.hidden = notice.textContent === "";
  if (status === null) return;
  const view = VIEWS[status.state] ?? WORKING;
  panel.dataset.tone = view.tone;
  write(heading, view.heading);
  write(message, messageFor(status));

  form.hidden = part("countdown").hidden = view.tone !== "open";
  button.disabled = isSubmitting || !status.can_pay;
  write(button, isSubmitting ? "Sending your payment…" : payLabel);
  part("working").hidden = view.tone !== "working";
  showRetry(status, isSubmitting);
  part("leave").hidden = !["success", "failure", "doubt"].includes(view.tone);
  const redirect = redirectOf(status);
  part("continue").hidden = redirect === null;
  if (redirect !== null) part("continue-link").href = redirect;
  showCountdown();
}

function watchForDelay(tone) {
  if (tone !== "working") {
    clearTimeout(feedbackTimer);
    feedbackTimer = null;
    isTakingLong = false;
  } else if (feedbackTimer === null) {
    feedbackTimer = setTimeout(() => {
      isTakingLong = true;
      render();
    }, feedbackMs);
  }
}

manager.addEventListener("status", ({ detail: { status, previous } }) => {
  const tone = (VIEWS[status.state] ?? WORKING).tone;
  const isNews = previous !== null && panel.dataset.tone !== tone;
  if (isNews) refusal = "";
  watchForDelay(tone);
  render();
  if (isNews) heading.focus();
});
manager.addEventListener("tick", () => {
  showCountdown();
  write(message, messageFor(manager.status));
});
manager.addEventListener("submitting", ({ detail: { isSubmitting } }) => {
  render();
  // The button lost the focus when it was disabled; a keyboard user goes on where they were.
  if (isSubmitting || document.activeElement !== document.body) return;
  if (!form.hidden) button.focus();
  else if (!part("retry").hidden) retryButton.focus();
});
manager.addEventListener("connection", ({ detail }) => {
  isConnected = detail.isConnected;
  render();
});
manager.addEventListener("refused", ({ detail: { problem } }) => {
  // The details of a malformed request are for programmers.
  const reason = problem.code === "invalid_request" ? problem.title : problem.detail;
  refusal = reason || "The payment was not accepted. Please try again.";
  render();
});
manager.addEventListener("retried", ({ detail: { status } }) => location.assign(`../${status.id}/`));
manager.addEventListener("gone", () => {
  panel.dataset.tone = "failure";
  write(heading, "You are not signed in any more");
  write(message, "This changes nothing about your payment, but it cannot be shown here. Please start from the shop.");
  for (const id of ["notice", "countdown", "pay-form", "working", "continue", "retry", "no-retry"]) part(id).hidden = true;
  part("leave").hidden = false;
  heading.focus();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  button.disabled = true; // Before anything else: the second click of a double click comes now.
  refusal = "";
  manager.pay(new FormData(form).get("payment_token"));
});

retryButton.addEventListener("click", () => {
  refusal = "";
  manager.retry();
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") manager.checkNow();
});
window.addEventListener("online", () => manager.checkNow());
window.addEventListener("pagehide", () => manager.stop());
window.addEventListener("pageshow", (event) => {
  if (event.persisted) manager.startMonitoring();
});

manager.startMonitoring();
