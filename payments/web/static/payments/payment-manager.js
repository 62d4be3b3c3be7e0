/**
 * Watches one payment, pays it, and opens the next attempt after a failure. It knows the API and the time, and nothing of the page.
 *
 * What it says of a payment always comes from the API, so a reload or a second tab changes nothing. A connection that
 * fails is never reported as a payment that failed: it asks until somebody answers.
 *
 * Events:
 * - `status`      the API answered: `detail` is { status, previous }, the API's attempt now and before
 * - `tick`        each second while the window runs: `detail` is { remainingSeconds }
 * - `connection`  the connection broke or came back: `detail` is { isConnected }
 * - `submitting`  a payment is being sent, or it is not known whether it arrived: `detail` is { isSubmitting }
 * - `retried`     the next attempt is open: `detail` is { status }, what the API said of it
 * - `refused`     the API refused: `detail` is { problem }, an RFC 9457 problem, empty when there was no answer to read
 * - `gone`        this browser may not see the payment (any more); nothing is asked from here on
 */

const POLL_FIRST_MS = 1_000;
const POLL_LAST_MS = 3_000;
const POLL_GROWTH = 1.25;
const DEADLINE_RECHECK_MS = 250; // Between questions when the countdown is at zero and the server says "not yet".
const READ_TIMEOUT_MS = 10_000;
const SUBMIT_TIMEOUT_MS = 20_000;

const ENDED = new Set(["succeeded", "failed", "expired", "cancelled"]);
const ASK_INSTEAD = new Set(["already_submitted", "payment_in_flight", "payment_expired"]); // No news for the customer.
const IN_WINDOW = new Set(["open", "queued"]); // What the deadline ends.

export class PaymentManager extends EventTarget {
  #statusUrl;
  #submitUrl;
  #retryUrl;
  #csrfToken;
  #status = null;
  #deadlineMs = null; // On performance.now(): no wall clock of this machine is asked.
  #isMonitoring = false;
  #isSubmitting = false;
  #isSending = false; // The submission itself; what it left unclear is #isSubmitting until the API was asked.
  #isConnected = true;
  #pollMs = POLL_FIRST_MS;
  #pollTimer = null;
  #tickTimer = null;
  #reading = null; // The AbortController of the question that is on its way.

  /**
   * @param {object} options
   * @param {string} options.statusUrl  GET answers where the payment stands
   * @param {string} options.submitUrl  POST pays
   * @param {string} options.retryUrl  POST opens the next attempt of the order
   * @param {() => string} options.csrfToken
   */
  constructor({ statusUrl, submitUrl, retryUrl, csrfToken }) {
    super();
    this.#statusUrl = statusUrl;
    this.#submitUrl = submitUrl;
    this.#retryUrl = retryUrl;
    this.#csrfToken = csrfToken;
  }

  /** What the API said last; null before it said anything. */
  get status() {
    return this.#status;
  }

  /** Whether a payment is on its way to the API, or may be. */
  get isSubmitting() {
    return this.#isSubmitting;
  }

  /** Whether the payment has come to an end that nothing changes any more. */
  get hasEnded() {
    return this.#status !== null && ENDED.has(this.#status.state);
  }

  /** Whole seconds until the window closes, by the server's clock. Never more than there are. */
  get remainingSeconds() {
    if (this.#deadlineMs === null) return null;
    return Math.max(0, Math.floor((this.#deadlineMs - performance.now()) / 1_000));
  }

  /** Ask now, and go on asking until the payment has ended. */
  startMonitoring() {
    this.#isMonitoring = true;
    this.checkNow();
  }

  /** Ask nothing more. What was submitted goes on without us. */
  stop() {
    this.#isMonitoring = false;
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#tickTimer);
    this.#reading?.abort();
    this.#reading = null;
  }

  /** Ask at once, for instance because the page is seen again or the network is back. */
  checkNow() {
    if (!this.#isMonitoring || this.hasEnded) return;
    this.#pollMs = POLL_FIRST_MS;
    this.#read();
  }

  /** Pay with `token`. A second call while the first is on its way does nothing. */
  async pay(token) {
    if (this.#isSubmitting || this.#status?.can_pay !== true) return;
    this.#isSending = true;
    this.#setSubmitting(true);
    clearTimeout(this.#pollTimer);
    this.#reading?.abort(); // Its answer would be older than this payment.
    this.#reading = null;
    this.#pollMs = POLL_FIRST_MS;
    try {
      const sentMs = performance.now();
      const response = await this.#post(this.#submitUrl, { payment_token: token });
      const answer = await response.json();
      if (response.ok) {
        this.#accept(answer, sentMs);
      } else if (response.status < 500 && !ASK_INSTEAD.has(answer.code)) {
        this.#emit("refused", { problem: answer });
      }
      // Otherwise the next question tells what came of it.
    } catch {
      // No answer: it may have arrived or not. Nobody pays again before the API said where the payment stands.
      this.#setConnected(false);
    } finally {
      this.#isSending = false;
    }
    if (this.#status?.can_pay === false) this.#setSubmitting(false);
    this.#read();
  }

  /**
   * Open the next attempt, which is another payment. The key is this attempt's: a click in another tab, or after an
   * answer that got lost, leads to the same one.
   */
  async retry() {
    if (this.#isSubmitting || this.#status?.can_retry !== true) return;
    const { id, order_id } = this.#status;
    this.#setSubmitting(true);
    try {
      const response = await this.#post(this.#retryUrl, { order_id }, { "Idempotency-Key": `retry-${id}` });
      const answer = await response.json();
      if (response.ok) this.#emit("retried", { status: answer });
      else this.#emit("refused", { problem: answer });
    } catch {
      this.#emit("refused", { problem: {} });
    } finally {
      this.#setSubmitting(false);
    }
  }

  #post(url, body, headers = {}) {
    return fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": this.#csrfToken(), ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(SUBMIT_TIMEOUT_MS),
    });
  }

  async #read() {
    if (this.#reading !== null || this.#isSending) return;
    clearTimeout(this.#pollTimer);
    if (!this.#isMonitoring || this.hasEnded) return;
    const reading = new AbortController();
    this.#reading = reading;
    const timeout = setTimeout(() => reading.abort(), READ_TIMEOUT_MS);
    try {
      const askedMs = performance.now();
      const response = await fetch(this.#statusUrl, { cache: "no-store", signal: reading.signal });
      if ([401, 403, 404].includes(response.status)) {
        this.stop();
        this.#emit("gone", {});
        return;
      }
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const status = await response.json();
      if (this.#reading !== reading) return; // A payment was sent meanwhile, or nobody listens any more.
      this.#setConnected(true);
      this.#accept(status, askedMs);
      this.#setSubmitting(false);
    } catch {
      if (this.#reading !== reading) return;
      this.#setConnected(false);
    } finally {
      clearTimeout(timeout);
      if (this.#reading === reading) this.#reading = null;
    }
    this.#scheduleRead();
  }

  #scheduleRead() {
    clearTimeout(this.#pollTimer);
    if (!this.#isMonitoring || this.hasEnded) return;
    this.#pollTimer = setTimeout(() => this.#read(), this.#pollMs);
    // The server says how often is enough; before it has answered, and while it does not, the time between grows.
    const hintMs = (this.#status?.retry_after_seconds ?? 0) * 1_000;
    this.#pollMs = Math.max(hintMs, Math.min(POLL_LAST_MS, this.#pollMs * POLL_GROWTH));
  }

  #accept(status, askedMs) {
    const previous = this.#status;
    this.#status = status;
    this.#setDeadline(status, askedMs);
    if (previous?.state !== status.state) this.#pollMs = POLL_FIRST_MS;
    this.#emit("status", { status, previous });
    this.#tick();
  }

  /**
   * The server read its clock between our question and its answer, so the deadline lies between two bounds. Within
   * them the earlier estimate stays, so that the countdown does not jump with the network; outside them it was wrong
   * (this machine may have slept), and the nearer bound is right.
   */
  #setDeadline(status, askedMs) {
    const leftMs = Date.parse(status.expires_at) - Date.parse(status.server_now);
    const earliest = askedMs + leftMs;
    const latest = performance.now() + leftMs;
    this.#deadlineMs = Math.min(latest, Math.max(earliest, this.#deadlineMs ?? earliest));
  }

  #tick() {
    clearTimeout(this.#tickTimer);
    if (!this.#isMonitoring || this.#status === null || !IN_WINDOW.has(this.#status.state)) return;
    this.#emit("tick", { remainingSeconds: this.remainingSeconds });
    const leftMs = this.#deadlineMs - performance.now();
    if (leftMs > 0) {
      this.#tickTimer = setTimeout(() => this.#tick(), Math.ceil(leftMs % 1_000) || 1_000);
    } else {
      // The server alone decides whether the time is up.
      this.#pollMs = DEADLINE_RECHECK_MS;
      this.#read();
    }
  }

  #setConnected(isConnected) {
    if (this.#isConnected === isConnected) return;
    this.#isConnected = isConnected;
    this.#emit("connection", { isConnected });
  }

  #setSubmitting(isSubmitting) {
    if (this.#isSubmitting === isSubmitting) return;
    this.#isSubmitting = isSubmitting;
    this.#emit("submitting", { isSubmitting });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
