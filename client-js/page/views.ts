// The page's two views, and the script of the second, which is loaded when somebody wants it.

import type { Sessions } from "./doctor/means.js";
import type { Doctor } from "./doctor/view.js";

export interface Views {
  readonly live: HTMLElement;
  readonly doctor: HTMLElement;
  /** Where the doctor says what it does. */
  readonly stage: HTMLElement;
}

/** Shows the view that the address asks for: `#doctor`, or anything else. */
export class Switch {
  readonly #views: Views;
  readonly #url: () => string;
  readonly #sessions: Sessions;
  #doctor: Promise<Doctor> | undefined;

  /** `url` is the realm's address, without a slash at its end. */
  constructor(views: Views, url: () => string, sessions: Sessions) {
    this.#views = views;
    this.#url = url;
    this.#sessions = sessions;
  }

  show(wanted: URLSearchParams): void {
    const { live, doctor, stage } = this.#views;
    const examines = wanted.has("doctor");
    live.hidden = examines;
    doctor.hidden = !examines;
    for (const link of document.querySelectorAll("nav a")) {
      if ((link.getAttribute("href") === "#doctor") === examines) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!examines) return;
    this.#doctor ??= load(doctor, this.#url, this.#sessions);
    this.#doctor.then(
      (loaded) => loaded.wants(wanted),
      (error: unknown) => {
        // Another visit is another try.
        this.#doctor = undefined;
        stage.textContent = `The doctor's script cannot be loaded (${error instanceof Error ? error.message : String(error)}): open this view once more.`;
      },
    );
  }
}

async function load(root: HTMLElement, url: () => string, sessions: Sessions): Promise<Doctor> {
  const script = new URL("doctor.js", import.meta.url).href;
  const { Doctor: Made } = (await import(script)) as { readonly Doctor: typeof Doctor };
  return new Made(root, url, sessions);
}
